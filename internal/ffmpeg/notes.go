package ffmpeg

import apigpu "github.com/api-gpu/api-gpu"

// Notes tells the user what Args will change beyond what was asked for.
func Notes(s Spec, p Probe, a Abilities) []apigpu.Warning {
	var notes []apigpu.Warning
	note := func(when bool, code, message string, count int) {
		if when {
			notes = append(notes, apigpu.Warning{Code: code, Message: message, Count: count})
		}
	}
	v, copies, keeps := p.Video, s.Copies(p), s.KeepsHDR(p)
	maps := v.Wide() && !keeps && !copies
	note(s.Output.HDR == apigpu.HDRKeep && !v.HDR(), "hdr_absent", "The video has no HDR to keep: the result has standard colours.", 0)
	note(maps && a.ToneMap, "hdr_tone_mapped", "The video has HDR or wide colours; they were mapped to standard ones.", 0)
	note(maps && !a.ToneMap, "hdr_pale", "The video has HDR or wide colours, and this FFmpeg cannot map them: colours may look pale.", 0)
	note(keeps && !copies && v.DolbyVision > 0, "dolby_vision_dropped", "The video is Dolby Vision; its HDR10 or HLG was kept, and what Dolby adds was not.", 0)
	note(deinterlaces(v), "deinterlaced", "The video was interlaced; it was made progressive.", 0)
	note(v.alpha(), "transparency_lost", "The video may have transparent parts; they were put on black.", 0)

	converted := 0
	for _, track := range p.Audio {
		if !Copied(track, s.Output.Audio) {
			converted++
		}
	}
	switch s.Output.Audio {
	case apigpu.AudioAAC: // as was asked for
	case apigpu.AudioCopy:
		note(converted > 0, "audio_converted", "Audio that MP4 cannot hold was converted to AAC.", converted)
	default:
		note(converted > 0, "audio_converted", "Audio that browsers do not play in MP4 was converted to AAC.", converted)
	}
	note(p.AudioDropped > 0, "audio_dropped", "Audio tracks of an unknown codec were left out.", p.AudioDropped)
	return notes
}
