package apigpu

// PreviewAsk says which picture of a request is wanted: one frame with its
// captions, or a sheet of nine.
type PreviewAsk struct {
	// At is when, in seconds of the result; nil is the middle of a caption.
	At *float64
	// Sheet asks for nine pictures, spread over the captions, on one.
	Sheet bool
	// Width and Height are those of the result where the request names no
	// video; 0 is 1280 x 720.
	Width, Height int
}

// Preview is a picture of what a request would make.
type Preview struct {
	// PNG is the picture: at most 720 pixels on its short side, and on a sheet
	// 360 for each frame.
	PNG []byte
	// At is when the frames are shown, in seconds.
	At []float64
	// Background is what the captions stand on.
	Background Background
	// Warnings are codes: what was mended or guessed, and what could not be
	// drawn as it was asked for.
	Warnings []string
}

// Background is what the captions of a preview stand on.
type Background string

// The backgrounds.
const (
	BackgroundVideo Background = "video" // a frame of the video
	BackgroundPlain Background = "plain" // one colour: there is no video, or it cannot be read here
)

// PreviewPlain is the code of the warning that a preview has a plain background
// though the request names a video.
const PreviewPlain = "preview_plain"
