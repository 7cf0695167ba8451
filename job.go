package apigpu

import "time"

// Status is where a job is in its life. It moves forward only:
//
//	queued → running → succeeded | failed | canceled | expired
//
// and from running back to queued when its machine is gone, with a higher
// attempt.
type Status string

// The statuses of a job.
const (
	Queued      Status = "queued"
	Running     Status = "running"
	Succeeded   Status = "succeeded"
	Failed      Status = "failed"
	JobCanceled Status = "canceled"
	JobExpired  Status = "expired"
)

// Final reports whether s is an end state, which nothing leaves.
func (s Status) Final() bool {
	switch s {
	case Succeeded, Failed, JobCanceled, JobExpired:
		return true
	}
	return false
}

// Valid reports whether s is one of the statuses.
func (s Status) Valid() bool { return s == Queued || s == Running || s.Final() }

// Phase says, for people, what a job is doing now.
type Phase string

// The phases of a job, in their order.
const (
	Checking    Phase = "checking"
	WaitingGPU  Phase = "waiting_gpu"
	Downloading Phase = "downloading"
	Rendering   Phase = "rendering"
	Uploading   Phase = "uploading"
	Done        Phase = "done"
)

// MaxQueuePosition is the last place in the queue that is counted.
const MaxQueuePosition = 1000

// Job is one request for work and what became of it, as every answer shows
// it: the POST, GET /jobs/{id}, each event, and each webhook.
type Job struct {
	ID        string `json:"id" doc:"Identity of the job" example:"job_01JD2Q8V5X3T9N6R4M7K1H0GZB"`
	Object    string `json:"object" doc:"Always job" enum:"job"`
	Operation string `json:"operation" doc:"What was asked for" enum:"video.caption"`
	Status    Status `json:"status" enum:"queued,running,succeeded,failed,canceled,expired"`
	Phase     Phase  `json:"phase" enum:"checking,waiting_gpu,downloading,rendering,uploading,done"`
	// PhaseNote says why and until when a job waits, where that is known.
	PhaseNote string `json:"phase_note,omitempty" doc:"Why the job waits, where that is known"`
	// Progress is the percentage of the whole job, 0 to 100, never falling
	// within one attempt.
	Progress float64 `json:"progress" doc:"Percent of the whole job, 0 to 100"`
	// QueuePosition is 1 for the next job, and at most MaxQueuePosition; nil
	// when not queued.
	QueuePosition *int `json:"queue_position" doc:"1 for the next job, 1000 for the 1000th and all behind it; null when not queued"`
	// ETASeconds is the time until the end as measured progress suggests;
	// nil while there is nothing to judge by.
	ETASeconds *float64 `json:"eta_seconds" doc:"Seconds until the end, where there is progress to judge by"`
	// Attempt counts starts on a worker; 0 before the first.
	Attempt int `json:"attempt" doc:"Starts on a worker so far"`
	// Revision rises with every change of the job.
	Revision int64 `json:"revision" doc:"Rises with every change"`

	CreatedAt  time.Time  `json:"created_at"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	// ExpiresAt is when the result is removed; before the job has ended, the
	// latest time at which that can be.
	ExpiresAt time.Time `json:"expires_at" doc:"When the result is removed"`
	// LinkUntil is until when the signature of VideoURL holds. It is fixed at
	// the request, so that the address never changes.
	LinkUntil time.Time `json:"-"`

	// Filename is the last part of VideoURL and the name that a browser
	// saves under.
	Filename string `json:"filename" doc:"Name of the result" example:"video.mp4"`
	// VideoURL is the final address of the result, known from the start. It
	// needs no header. Before the result is there it answers 409 not_ready.
	VideoURL string `json:"video_url" doc:"Where the result is, or will be; opens without a header"`
	// Thumbnail tells that a thumbnail was asked for. ThumbnailURL is its final
	// address, as VideoURL is that of the result; empty without one.
	Thumbnail    bool      `json:"-"`
	ThumbnailURL string    `json:"thumbnail_url,omitempty" doc:"Where the thumbnail is, or will be; opens without a header. Absent where none was asked for"`
	Video        *Video    `json:"video" doc:"What the result is; null before it is there"`
	Captions     *Captions `json:"captions" doc:"What was read from the subtitle file"`
	Warnings     []Warning `json:"warnings" doc:"What was mended or guessed on the way"`
	Stats        Stats     `json:"stats"`
	Error        *Error    `json:"error" doc:"Why the job failed; null otherwise"`
	// Webhook is nil unless the request named a webhook_url.
	Webhook *Webhook `json:"webhook,omitempty" doc:"What became of the message to webhook_url; absent without one"`
	Links   Links    `json:"links"`
}

// Video describes a finished result.
type Video struct {
	Bytes    int64   `json:"bytes" doc:"Length of the file in bytes"`
	SHA256   string  `json:"sha256" doc:"SHA-256 of the file, in hex"`
	Duration float64 `json:"duration" doc:"Seconds"`
	Width    int     `json:"width" doc:"Pixels as displayed"`
	Height   int     `json:"height" doc:"Pixels as displayed"`
	FPS      float64 `json:"fps" doc:"Mean frames per second"`
	Codec    string  `json:"codec" example:"h264"`
	HDR      bool    `json:"hdr" doc:"Whether it has high dynamic range"`
	Audio    string  `json:"audio,omitempty" doc:"Audio codec; absent for a silent video" example:"aac"`
}

// Captions says what was read from the subtitle file.
type Captions struct {
	Format  string `json:"format" enum:"srt,webvtt,ass,json"`
	Charset string `json:"charset" doc:"Encoding the file was read in" example:"utf-8"`
	// Confidence is how sure the charset is: 1 where the file or the request
	// says it.
	Confidence float64 `json:"confidence,omitempty" doc:"How sure the charset is, 0 to 1"`
	// CuesIn counts the cues in the file, CuesUsed those that are shown. The
	// difference is explained by warnings, cue by cue.
	CuesIn   int `json:"cues_in" doc:"Cues in the file"`
	CuesUsed int `json:"cues_used" doc:"Cues shown in the video"`
	// Timing says where the times of single words come from.
	Timing string `json:"timing,omitempty" enum:"cues,words,estimated" doc:"What is timed: whole cues, words by the file, or words by their estimated length"`
	// Fonts are the families that draw the text, the first for most of it.
	Fonts []string `json:"fonts,omitempty" doc:"Families that draw the text"`
}

// Warning tells of something mended or guessed. Code is stable.
type Warning struct {
	Code    string `json:"code" example:"charset_guessed"`
	Message string `json:"message"`
	Count   int    `json:"count,omitempty" doc:"How often, where it was counted"`
	// Lines are those of the subtitle file, the first ten.
	Lines []int `json:"lines,omitempty" doc:"Lines of the subtitle file, from 1: the first ten of them"`
}

// ThumbnailFailed is the code of the warning that no thumbnail could be made
// or brought home. The video is there all the same.
const ThumbnailFailed = "thumbnail_failed"

// Stats says where the time went and what did the work. Times are
// milliseconds of wall time.
type Stats struct {
	QueueMS    int64  `json:"queue_ms" doc:"From the request to the start on a worker"`
	DownloadMS int64  `json:"download_ms" doc:"Getting the video to the worker"`
	RenderMS   int64  `json:"render_ms" doc:"FFmpeg at work"`
	UploadMS   int64  `json:"upload_ms" doc:"Bringing the result home"`
	Worker     string `json:"worker,omitempty" doc:"Instance that did the work"`
	GPU        string `json:"gpu,omitempty" doc:"Model of its GPU, if it has one"`
	Encoder    string `json:"encoder,omitempty" doc:"Encoder that really ran; copy where the picture was kept as it was" example:"libx264"`
	// RealtimeFactor is seconds of video rendered per second.
	RealtimeFactor float64 `json:"realtime_factor,omitempty" doc:"Seconds of video rendered per second"`
	// CostUSD is what the job cost so far: its work and traffic, and its shares
	// of the boot and the idle time of the machines that it ran on. It changes
	// until they are gone: the time for which one stands idle after the job is
	// added, and other jobs that it runs bear their part.
	CostUSD Dollars `json:"cost_usd,omitempty" doc:"US dollars that the job cost so far: its work and traffic, and its share of the machine's boot and idle time. What the machine stands idle after the job is added once it is gone. Absent where nothing is paid" example:"0.004321"`
	// CostState tells how sure that is.
	CostState CostState `json:"cost_state,omitempty" enum:"estimated,final" doc:"estimated by our own measure and not the last word; final, as charged by the provider, once its bill is there"`
}

// CostState tells how sure a cost is.
type CostState string

// The states of a cost; empty where there is none.
const (
	CostEstimated CostState = "estimated" // by our own measure
	CostFinal     CostState = "final"     // what the provider charged
)

// Links are the addresses that belong to a job.
type Links struct {
	Self   string `json:"self"`
	Events string `json:"events"`
	Video  string `json:"video"`
	Cancel string `json:"cancel"`
}

// JobPage is one page of a listing, newest first.
type JobPage struct {
	Object string `json:"object" enum:"list"`
	Data   []Job  `json:"data"`
	// NextCursor asks for the page after this one; empty on the last.
	NextCursor string `json:"next_cursor,omitempty" doc:"Ask for the next page with it; absent on the last"`
}

// Result is the answer of a request that waited for its job, in the shape of
// the plan: code, message, video_url, execution and stats, with the job
// itself beside them. Code is 200 when the video is there and 202 when the
// job still goes on.
type Result struct {
	Code      int        `json:"code"`
	Message   string     `json:"message"`
	VideoURL  string     `json:"video_url"`
	Execution *Execution `json:"execution,omitempty"`
	Stats     Stats      `json:"stats"`
	Job       Job        `json:"job"`
}

// Execution is the span from the request to the end of its job.
type Execution struct {
	StartTime       time.Time `json:"startTime"`
	EndTime         time.Time `json:"endTime"`
	DurationMS      int64     `json:"durationMs"`
	DurationSeconds float64   `json:"durationSeconds"`
}
