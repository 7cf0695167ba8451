package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/queue"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	e := func(code apigpu.Code) error { return apigpu.E(code, nil, "at 203.0.113.7:3334") }
	foreign := func(code apigpu.Code) error { return apigpu.E(code, client.ErrForeign, "at 203.0.113.7:3334") }
	for _, c := range []struct {
		err     error
		pushed  bool
		verdict Verdict
		blamed  bool
		push    bool
		why     apigpu.Code
	}{
		{nil, false, Complete, false, false, ""},
		{errStale, false, Leave, false, false, ""},
		{e(apigpu.StaleAttempt), false, Leave, false, false, ""},
		{errCancel, false, Cancel, false, false, ""},
		{errDeadline, false, Fail, false, false, apigpu.JobTimeout},
		{errBudget, false, Fail, false, false, apigpu.BudgetExceeded},
		{context.Canceled, false, Release, false, false, ""},
		{fmt.Errorf("call: %w", context.Canceled), false, Release, false, false, ""},

		{e(apigpu.SourceUnreachable), false, Requeue, false, true, apigpu.SourceUnreachable},
		{e(apigpu.BlockedAddress), false, Requeue, false, true, apigpu.BlockedAddress},
		{e(apigpu.SourceUnreachable), true, Fail, false, false, apigpu.SourceUnreachable},
		{e(apigpu.BlockedAddress), true, Fail, false, false, apigpu.BlockedAddress},

		{e(apigpu.GPULost), false, Requeue, false, false, apigpu.GPULost},
		{e(apigpu.ResultLost), false, Requeue, false, false, apigpu.ResultLost},
		{e(apigpu.Unavailable), false, Requeue, false, false, apigpu.GPULost},
		{e(apigpu.QueueExpired), false, Requeue, false, false, apigpu.GPULost},
		{e(apigpu.Canceled), false, Requeue, false, false, apigpu.GPULost},
		{e(apigpu.Unauthorized), false, Requeue, false, false, apigpu.GPULost},
		{e(apigpu.InvalidSession), false, Requeue, false, false, apigpu.GPULost},
		{e(apigpu.AddressNotAllowed), false, Requeue, false, false, apigpu.GPULost},

		{errors.New("anything"), false, Requeue, true, false, apigpu.Internal},
		{e(apigpu.EncoderFailed), false, Requeue, true, false, apigpu.EncoderFailed},
		{e(apigpu.RenderStalled), false, Requeue, true, false, apigpu.RenderStalled},
		{e(apigpu.NoEncoder), false, Requeue, true, false, apigpu.NoEncoder},
		{e(apigpu.StorageFull), false, Requeue, false, false, apigpu.StorageFull},
		{foreign(apigpu.Internal), false, Requeue, false, false, apigpu.GPULost},
		{foreign(apigpu.InvalidRequest), false, Requeue, false, false, apigpu.GPULost},
		{foreign(apigpu.TooLarge), false, Requeue, false, false, apigpu.GPULost},
		{errors.Join(errOurs, errors.New("database is locked")), false, Requeue, false, false, apigpu.Internal},

		{e(apigpu.MediaUndecodable), false, Fail, false, false, apigpu.MediaUndecodable},
		{e(apigpu.NoVideoStream), true, Fail, false, false, apigpu.NoVideoStream},
		{e(apigpu.SourceIsHTML), false, Fail, false, false, apigpu.SourceIsHTML},
		{e(apigpu.InvalidRequest), false, Fail, false, false, apigpu.InvalidRequest},
		{e(apigpu.JobTimeout), false, Fail, false, false, apigpu.JobTimeout},
	} {
		verdict, s := Judge(c.err, c.pushed)
		if verdict != c.verdict || s.Blamed != c.blamed || s.Push != c.push || (s.Why == nil) != (c.why == "") || s.Why != nil && s.Why.Code != c.why {
			t.Errorf("%v, pushed %v: %s %+v", c.err, c.pushed, verdict, s)
		}
	}
	// What the client says of a machine that is silent, or of whoever answers
	// in its place, names its address.
	for _, err := range []error{e(apigpu.Unavailable), foreign(apigpu.Internal), foreign(apigpu.InvalidRequest)} {
		if _, s := Judge(err, false); strings.Contains(s.Why.Message, "203.0.113.7") {
			t.Errorf("a stranger is told %q", s.Why.Message)
		}
	}
}

func TestAssignment(t *testing.T) {
	t.Parallel()
	j := queue.Job{Job: apigpu.Job{Attempt: 3}, Spec: apigpu.CaptionSpec{
		URLVideo: "http://nas.home/private.mp4", URLSRT: "http://nas.home/private.srt", SRT: "private",
		HeadersVideo: map[string]string{"Authorization": "private"}, HeadersSRT: map[string]string{"Cookie": "private"},
		Output: apigpu.Output{Quality: apigpu.High, Filename: "x.mp4"},
	}}
	pushed := assignment(j, []byte("cue"), true, true, time.Minute)
	raw, err := json.Marshal(pushed)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), "private") || strings.Contains(string(raw), "nas.home") {
		t.Errorf("a rented machine is told %s", raw)
	}
	if !pushed.Push || !pushed.RequireGPU || pushed.Attempt != 3 || pushed.DeadlineSeconds != 60 || string(pushed.Subtitle) != "cue" || pushed.Spec.Output != j.Spec.Output {
		t.Errorf("%+v", pushed)
	}
	fetched := assignment(j, nil, false, false, time.Minute)
	if s := fetched.Spec; fetched.Push || s.URLVideo != j.Spec.URLVideo || s.HeadersVideo != nil || s.URLSRT != "" || s.SRT != "" || s.HeadersSRT != nil {
		t.Errorf("%+v", fetched)
	}
}

func TestRests(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var r rests
	awake := func(at time.Time) int {
		return len(r.awake([]fleet.Slot{{Instance: "a"}, {Instance: "a", Number: 1}, {Instance: "b"}}, at))
	}
	if awake(now) != 3 {
		t.Error("nobody rests before something was lost")
	}
	r.lose("a", now)
	if awake(now) != 1 || awake(now.Add(restMin)) != 3 {
		t.Error("the first rest is restMin, of that instance only")
	}
	for range 20 {
		r.lose("a", now)
	}
	if awake(now.Add(restMax-1)) != 1 || awake(now.Add(restMax)) != 3 {
		t.Error("no rest is longer than restMax")
	}
	r.work("a")
	if awake(now) != 3 {
		t.Error("work ends the rest")
	}
	r.lose("a", now)
	awake(now.Add(time.Hour))
	if len(r.of) != 0 {
		t.Error("instances are remembered for ever")
	}
}
