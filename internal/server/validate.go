package server

import (
	"context"
	"errors"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/caption"
	"github.com/api-gpu/api-gpu/internal/fetch"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/mp4"
	"github.com/api-gpu/api-gpu/internal/subtitle"
)

// Validate reads the subtitles and looks at the head of the video, as Submit
// does, and records nothing.
func (s *Jobs) Validate(ctx context.Context, who httpapi.Caller, sub httpapi.Submission, cues bool) (apigpu.Validation, error) {
	if err := s.checkWebhook(sub.WebhookURL); err != nil {
		return apigpu.Validation{}, err
	}
	_, document, drawn, err := s.readCaptions(ctx, who, sub)
	if err != nil {
		return apigpu.Validation{}, err
	}
	v := apigpu.Validation{
		Object: "validation", Captions: account(document, drawn), Warnings: append(subtitle.Warnings(document.Notes), drawn.warnings...),
	}
	if v.Warnings == nil {
		v.Warnings = []apigpu.Warning{}
	}
	if cues {
		v.Cues = textOf(document.Cues)
	}
	if sub.Spec.URLVideo == "" && sub.Upload == "" {
		return v, nil
	}
	head, err := s.describeVideo(ctx, sub)
	if err != nil {
		return apigpu.Validation{}, err
	}
	v.Video = &head
	if head.Duration > 0 {
		length := time.Duration(head.Duration * float64(time.Second))
		within, late := caption.Within(document.Cues, length)
		v.Captions.CuesUsed = len(within)
		v.Warnings = append(v.Warnings, subtitle.Warnings(late)...)
		if len(within) == 0 {
			return apigpu.Validation{}, apigpu.E(apigpu.SubtitleEmpty, nil, "No cue begins before the end of the video.")
		}
		if s.Policy.Expect != nil {
			expected, err := s.Policy.Expect(ctx, length, head.Bytes)
			if err != nil {
				return apigpu.Validation{}, err
			}
			v.Estimate = &expected
		}
	}
	return v, nil
}

// textOf are cues as an answer shows them.
func textOf(cues []caption.Cue) []apigpu.CueText {
	out := make([]apigpu.CueText, len(cues))
	for i, c := range cues {
		out[i] = apigpu.CueText{Start: c.Start.Seconds(), End: c.End.Seconds(), Text: c.Text, Speaker: c.Speaker, Line: c.Line}
	}
	return out
}

// describeVideo reads the head of the video. Its errors are those that would
// refuse the job; a source that cannot be read is described as such, because a
// worker may reach it.
func (s *Jobs) describeVideo(ctx context.Context, sub httpapi.Submission) (apigpu.VideoHead, error) {
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	r, size, err := s.openHead(ctx, sub)
	if err != nil {
		if refused := headRefusal(err); refused != nil {
			return apigpu.VideoHead{}, refused
		}
		if errors.Is(err, fetch.ErrNoRange) { // a job reads it from the start, as this answer could be
			return apigpu.VideoHead{Reachable: true, Reason: "Its server sends the file only as a whole, so that its length is not known beforehand."}, nil
		}
		return apigpu.VideoHead{Reason: apigpu.AsError(err).Message}, nil
	}
	defer r.Close()
	head := apigpu.VideoHead{Reachable: true, Bytes: max(0, size)}
	if err := s.tooLarge(sub, size); err != nil {
		return head, err
	}
	info, err := mp4.Parse(r, size)
	if _, refused := judgeHead(info, err, s.Policy.Limits); refused != nil {
		return head, refused
	}
	switch {
	case errors.Is(err, mp4.ErrNotMP4):
		head.Reason = "Only of MP4 and MOV the length is known beforehand."
	case err != nil:
		head.Reason = "The head of the file cannot be read: it may be damaged."
	default:
		head.Duration, head.FPS = info.Duration.Seconds(), info.FPS
		head.Width, head.Height = info.Width, info.Height
		head.Codec, head.Audio = info.VideoCodec, info.AudioCodec
	}
	return head, nil
}
