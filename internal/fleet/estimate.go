package fleet

import (
	"math"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/queue"
)

// Work is what a job is expected to take. It need not be better than to a
// factor of two: estimates as wrong as that cost an eighth more than perfect
// ones in a replay of a real service's requests.
type Work struct {
	// For is how long a machine works on it, if it is like those of late.
	For time.Duration
	// Down and Up are the bytes into and out of the machine.
	Down, Up int64
	// Video is the length of its video.
	Video time.Duration
	// Since is when it began to wait.
	Since time.Time
}

// What is assumed where nothing is known. The speeds are of whole jobs at
// 1080p. With NVENC: 14.5 was measured on an RTX A4500 over a film of 33
// minutes, and the drawing of the letters on one core bounds a faster card to
// 200 to 350 frames a second. Without: libx264 on two cores.
const (
	priorGPU = 10.0 // seconds of video a second
	priorCPU = 1.0
	// priorJobs is how many jobs of our own outweigh an assumption.
	priorJobs = 3
	// jobStart is what any job takes: its start, its probe, its last bytes.
	jobStart = 3 * time.Second
	// unknownVideo is the length of a video of which neither length nor size
	// is known, and videoRate its bytes a second where one of them is: 4 Mbit/s.
	unknownVideo = 5 * time.Minute
	videoRate    = 500_000
	// typicalMbps is the network of a machine that states none. Beyond
	// mostMbps the other end is what bounds: a source, or this server.
	typicalMbps = 100
	mostMbps    = 200
)

// Speeds is what is known of how fast jobs are rendered: seconds of video a
// second, by the model of GPU as offers name it, "" being none.
type Speeds struct {
	// Free is that of the provider: its machines are taken to have no GPU.
	Free   bool
	all    speed
	models map[string]speed
}

// speed sums up logarithms: a mean of them is not moved much by one job that
// was very fast.
type speed struct {
	logs float64
	jobs int
}

func (s speed) with(factor float64) speed {
	return speed{s.logs + math.Log(min(max(factor, 0.01), 1000)), s.jobs + 1}
}

// mean weighs what was seen against what was assumed.
func (s speed) mean(prior float64) float64 {
	return math.Exp((s.logs + priorJobs*math.Log(prior)) / float64(s.jobs+priorJobs))
}

// speedsOf sums up the latest jobs. models has the GPU of each instance that
// we know: an offer and a worker name the same card differently.
func speedsOf(latest []queue.Speed, models map[string]string, free bool) Speeds {
	out := Speeds{Free: free, models: map[string]speed{}}
	for _, j := range latest {
		model, known := models[j.Instance]
		if !known {
			model = j.GPU
		}
		out.all = out.all.with(j.Factor)
		out.models[model] = out.models[model].with(j.Factor)
	}
	return out
}

// typical is the speed of the machines of late.
func (s Speeds) typical() float64 {
	prior := priorGPU
	if s.Free {
		prior = priorCPU
	}
	return s.all.mean(prior)
}

// of is the speed of one model.
func (s Speeds) of(model string) float64 {
	if model == "" {
		return s.models[""].mean(s.typical())
	}
	return s.models[model].mean(s.typical())
}

// estimate is what a job is expected to take.
func estimate(n queue.Need, s Speeds) Work {
	w := Work{Video: n.Video, Down: n.Size, Since: n.CreatedAt}
	switch {
	case w.Video <= 0 && w.Down <= 0:
		w.Video, w.Down = unknownVideo, int64(unknownVideo.Seconds())*videoRate
	case w.Video <= 0:
		w.Video = time.Duration(min(float64(w.Down)/videoRate, 1e6) * float64(time.Second))
	case w.Down <= 0:
		w.Down = int64(w.Video.Seconds() * videoRate)
	}
	// Results are about as large as their videos: a tenth more or a fifth less
	// in our own measurements.
	w.Up = w.Down
	w.For = w.takes(s.typical(), typicalMbps, typicalMbps)
	return w
}

// on is how long the job takes on a machine of these terms.
func (w Work) on(o gpu.Offer, s Speeds) time.Duration {
	if w.Video <= 0 { // only its time is known
		return w.For
	}
	return w.takes(s.of(o.GPU), o.DownMbps, o.UpMbps)
}

// takes sums download, render and upload: the worker does them one after
// another as a rule.
func (w Work) takes(factor, downMbps, upMbps float64) time.Duration {
	seconds := w.Video.Seconds()/factor + moved(w.Down, downMbps) + moved(w.Up, upMbps)
	return jobStart + time.Duration(min(seconds, 1e8)*float64(time.Second))
}

// moved is how many seconds so many bytes are on the way.
func moved(bytes int64, mbps float64) float64 {
	if !(mbps > 0) {
		mbps = typicalMbps
	}
	return float64(max(bytes, 0)) * 8 / 1e6 / min(mbps, mostMbps)
}

// left is how much longer a running job is expected to take: at first as it was
// expected to, and as its progress suggests the further it is. One that takes
// longer than expected is expected to take half as long again.
func left(n queue.Need, w Work, now time.Time) time.Duration {
	ran := max(0, now.Sub(n.StartedAt))
	expected := max(w.For-ran, ran/2)
	done := min(max(n.Progress, 0), 100) / 100
	if !(done > 0) {
		return expected
	}
	shown := min(ran.Seconds()*(1-done)/done, 1e8)
	return time.Duration((shown*done + expected.Seconds()*(1-done)) * float64(time.Second))
}
