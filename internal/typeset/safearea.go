package typeset

import "github.com/api-gpu/api-gpu"

// edges are the shares of a picture that captions keep free, in percent: of
// its height at the top and the bottom, of its width at the sides.
type edges struct{ top, right, bottom, left float64 }

// safeAreas are what apps put their buttons and texts over, on a tall picture
// of 9:16, as published in 2025 and 2026. They change every few months: this
// is the only place to change them.
func safeAreas() map[string]edges {
	return map[string]edges{
		"none":      {0, 0, 0, 0},
		"tiktok":    {13, 17, 24, 6},   // 130-250 px at the top of 1920, 320-460 at the bottom, 120-180 of 1080 right, 60 left
		"reels":     {11.5, 12, 23, 6}, // 108-220, 310-450
		"shorts":    {10, 17, 16, 6},   // 300 at the bottom
		"broadcast": {5, 5, 5, 5},      // safe title area of SMPTE ST 2046-1
		// auto, for the shape of the picture.
		"tall": {13, 16, 24, 6}, // the largest of the three apps
		"wide": {5, 5, 5, 5},
	}
}

// safeArea returns the edges that a style asks for on a picture of this shape.
func safeArea(area apigpu.SafeArea, size Size) edges {
	if area.Name == "" && !area.IsZero() {
		return edges{area.Top, area.Right, area.Bottom, area.Left}
	}
	if e, known := safeAreas()[area.Name]; known {
		return e
	}
	if size.portrait() {
		return safeAreas()["tall"]
	}
	return safeAreas()["wide"]
}

// SafeAreaOf returns what stays free at each edge under the name of a safe
// area: for GET /styles and guides.
func SafeAreaOf(name string, size Size) apigpu.SafeArea {
	e := safeArea(apigpu.SafeArea{Name: name}, size.orDefault())
	return apigpu.SafeArea{Top: e.top, Right: e.right, Bottom: e.bottom, Left: e.left}
}
