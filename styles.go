package apigpu

import (
	"reflect"
	"strconv"
	"strings"
)

// Styles is what captions may look like: the answer of GET /styles.
type Styles struct {
	Object     string           `json:"object" enum:"styles" doc:"Always styles"`
	Presets    []PresetInfo     `json:"presets" doc:"Looks to begin with; style.preset"`
	Positions  []string         `json:"positions" doc:"Names for style.position; a point is {x, y} in percent"`
	SafeAreas  []SafeAreaInfo   `json:"safe_areas" doc:"Names for style.safe_area, and what each keeps free"`
	Animations []AnimationInfo  `json:"animations" doc:"Names for style.animation"`
	Limits     map[string]Limit `json:"limits" doc:"Least, most and usual value of each number of a style, by its path"`
}

// PresetInfo is a preset with all its figures.
type PresetInfo struct {
	Name    Preset `json:"name"`
	Summary string `json:"summary" doc:"What it looks like"`
	Style   Style  `json:"style" doc:"All that it says, as a request would"`
}

// SafeAreaInfo is what a safe area keeps free at the edges, in percent of the
// height at the top and the bottom, and of the width at the sides.
type SafeAreaInfo struct {
	Name string `json:"name"`
	// Shape is wide or tall where the area depends on the shape of the picture.
	Shape  string  `json:"shape,omitempty" enum:"wide,tall" doc:"Of which pictures this is said, where the name means another area on others"`
	Top    float64 `json:"top"`
	Right  float64 `json:"right"`
	Bottom float64 `json:"bottom"`
	Left   float64 `json:"left"`
}

// AnimationInfo is an animation, in words.
type AnimationInfo struct {
	Name    Animation `json:"name"`
	Summary string    `json:"summary"`
	// Words reports that it needs times of words, which are estimated where the
	// file has none.
	Words bool `json:"words" doc:"It goes by the times of words, which are estimated where the file has none"`
}

// Limit bounds a number.
type Limit struct {
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Animations lists all animations.
func Animations() []Animation {
	return []Animation{
		AnimationNone, AnimationKaraoke, AnimationHighlight, AnimationWord, AnimationUnderline, AnimationPop, AnimationFade, AnimationTypewriter,
	}
}

// StyleLimits are the bounds of the numbers of a Style, by their paths, such as
// font.weight.
func StyleLimits() map[string]Limit {
	limits := map[string]Limit{"font.size": {minSize, maxSize}}
	limitsOf(reflect.TypeFor[Style](), "", limits)
	return limits
}

// limitsOf reads the tags from which the OpenAPI document is made.
func limitsOf(t reflect.Type, path string, into map[string]Limit) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() == reflect.Struct {
			limitsOf(f.Type, path+name+".", into)
			continue
		}
		low, err := strconv.ParseFloat(f.Tag.Get("minimum"), 64)
		high, err2 := strconv.ParseFloat(f.Tag.Get("maximum"), 64)
		if err == nil && err2 == nil {
			into[path+name] = Limit{low, high}
		}
	}
}
