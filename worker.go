package apigpu

import "time"

// Assignment gives a job to a worker: the body of PUT /jobs/{id}. It is sent
// again, unchanged, to re-attach: a worker that has this attempt answers with
// the job as it is.
type Assignment struct {
	// Attempt is the fencing number. A worker refuses one below what it has
	// (StaleAttempt), and drops what it has for one above.
	Attempt int `json:"attempt"`
	// Spec is what to do. Its subtitle fields are empty (Subtitle has the
	// bytes), its headers are empty, and its URLVideo is empty when the
	// video is pushed.
	Spec CaptionSpec `json:"spec"`
	// Subtitle is the subtitle file, as it was validated.
	Subtitle []byte `json:"subtitle"`
	// Fonts are the SHA-256 sums, in hex, of font files that come as
	// PUT /jobs/{id}/fonts/{sum}: captions wait for them.
	Fonts []string `json:"fonts,omitempty"`
	// Push says that the video comes as PUT /jobs/{id}/input.
	Push bool `json:"push,omitempty"`
	// DeadlineSeconds bounds the run on the worker, from its arrival.
	DeadlineSeconds float64 `json:"deadline_seconds"`
	// RequireGPU fails the job rather than encode it on a CPU.
	RequireGPU bool `json:"require_gpu,omitempty"`
}

// InputState tells how much of a pushed video a worker has.
type InputState struct {
	// Received is the offset at which the next push must begin.
	Received int64 `json:"received"`
	// Size is the whole length, or -1 while it is not known.
	Size int64 `json:"size"`
}

// Chunk is a piece of a result, in the coordinates of the finished file.
type Chunk struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"` // hex
}

// MaxChunk bounds the length of a Chunk, in bytes.
const MaxChunk = 8 << 20

// MaxThumbnail bounds the length of a thumbnail, in bytes.
const MaxThumbnail = 512 << 10

// Manifest closes a result: its chunks tile its length exactly, and SHA256 is
// that of the whole file, in hex.
type Manifest struct {
	Length int64   `json:"length"`
	SHA256 string  `json:"sha256"`
	Chunks []Chunk `json:"chunks"`
}

// LeaseRequest renews the lease of a worker: the body of PUT /lease.
type LeaseRequest struct {
	// Epoch is that of the fleet lease under which the caller acts. A worker
	// refuses one below the highest it has seen (StaleEpoch).
	Epoch int64 `json:"epoch"`
	// TTLSeconds is how long the worker may live without another renewal.
	TTLSeconds float64 `json:"ttl_seconds"`
}

// MaxLease bounds a renewal: no orchestrator may let a machine live for ever.
const MaxLease = 24 * time.Hour

// LeaseReply is a worker's account of itself, and its proof of life.
type LeaseReply struct {
	// Ready means that an encoder is proven and a font is there.
	Ready bool `json:"ready"`
	// Reason says why not, where it is not.
	Reason string     `json:"reason,omitempty"`
	Worker WorkerInfo `json:"worker"`
	// UptimeSeconds is for how long the worker runs: its machine is paid for at
	// least as long. 0 where it does not say.
	UptimeSeconds float64 `json:"uptime_seconds,omitempty"`
	// Jobs lists what the worker holds, finished results included.
	Jobs []HeldJob `json:"jobs"`
}

// HeldJob is a job that a worker has.
type HeldJob struct {
	ID      string `json:"id"`
	Attempt int    `json:"attempt"`
	Status  Status `json:"status"`
}

// WorkerInfo says what a worker is and what it proved it can do.
type WorkerInfo struct {
	Version string `json:"version"`
	API     int    `json:"api"`
	FFmpeg  string `json:"ffmpeg"`
	// Encoder is the one that a real encode of one frame proved.
	Encoder string `json:"encoder"`
	// GPU is the model of the GPU, empty without one.
	GPU string `json:"gpu,omitempty"`
	// Cores is what the cgroup grants, which may be less than the host has.
	Cores float64 `json:"cores"`
	// Load is the one-minute load average of the host.
	Load float64 `json:"load"`
	// Slots is how many jobs it runs at once.
	Slots int    `json:"slots"`
	Font  string `json:"font"`
	// Fonts names the set of fonts that it has: two workers with the same name
	// have the same.
	Fonts string `json:"fonts,omitempty"`
}
