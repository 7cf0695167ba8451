package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
	"github.com/api-gpu/api-gpu/internal/typeset"
)

type stylesOut struct{ Body apigpu.Styles }

// RegisterStyles adds GET /styles: what captions may look like.
func RegisterStyles(api *httpapi.API, guard func(http.Handler) http.Handler) {
	op := huma.Operation{
		OperationID: "styles", Method: http.MethodGet, Path: "/styles",
		Summary: "What captions may look like: presets with their figures, positions, safe areas, animations, limits",
	}
	huma.Register(api.Huma, api.Operation(op, guard), func(context.Context, *struct{}) (*stylesOut, error) {
		return &stylesOut{Styles()}, nil
	})
	api.Describe(api.Huma.OpenAPI().Paths["/styles"].Get)
}

// Styles lists what captions may look like.
func Styles() apigpu.Styles {
	s := apigpu.Styles{Object: "styles", Positions: apigpu.Positions(), SafeAreas: safeAreas(), Limits: apigpu.StyleLimits()}
	for _, name := range apigpu.Presets() {
		s.Presets = append(s.Presets, apigpu.PresetInfo{Name: name, Summary: presetWords[name], Style: typeset.Preset(name)})
	}
	for _, name := range apigpu.Animations() {
		s.Animations = append(s.Animations, apigpu.AnimationInfo{
			Name: name, Summary: animationWords[name], Words: name != apigpu.AnimationNone && name != apigpu.AnimationFade,
		})
	}
	return s
}

var presetWords = map[apigpu.Preset]string{
	apigpu.PresetClean:      "White letters with a black outline and a soft shadow: readable on anything",
	apigpu.PresetBoxed:      "White letters, each line on a dark rounded box",
	apigpu.PresetBoldSocial: "Few big capitals; the spoken word in yellow and a little larger",
	apigpu.PresetKaraoke:    "Words fill with colour from start to end as they are sung",
	apigpu.PresetWordPop:    "One big word at a time in the middle, which pops up as it is spoken",
	apigpu.PresetPodcast:    "Quiet lines in a rounded block; the spoken word on a violet box",
	apigpu.PresetBroadcast:  "As television has it: small, plain, on square boxes",
	apigpu.PresetNone:       "Letters without outline, shadow or box: a beginning for a style of your own",
}

var animationWords = map[apigpu.Animation]string{
	apigpu.AnimationNone:       "Nothing moves",
	apigpu.AnimationKaraoke:    "Words fill with `active.color` from start to end as they are spoken",
	apigpu.AnimationHighlight:  "The spoken word has the look of `active`",
	apigpu.AnimationWord:       "Only the spoken word is shown",
	apigpu.AnimationUnderline:  "The spoken word is underlined",
	apigpu.AnimationPop:        "Words grow for a moment as they are spoken",
	apigpu.AnimationFade:       "Captions fade in and out",
	apigpu.AnimationTypewriter: "Words appear one after the other, and stay",
}

// safeAreas are what each name keeps free; auto is another on wide pictures
// than on tall ones.
func safeAreas() (all []apigpu.SafeAreaInfo) {
	shapes := map[string]typeset.Size{"wide": {Width: 1920, Height: 1080}, "tall": {Width: 1080, Height: 1920}}
	for _, name := range apigpu.SafeAreas() {
		for _, shape := range []string{"wide", "tall"} {
			a := typeset.SafeAreaOf(name, shapes[shape])
			info := apigpu.SafeAreaInfo{Name: name, Top: a.Top, Right: a.Right, Bottom: a.Bottom, Left: a.Left}
			if name == "auto" {
				info.Shape = shape
			} else if shape == "tall" {
				continue // the same on both
			}
			all = append(all, info)
		}
	}
	return all
}

// StylesMarkdown are tables of presets, animations, safe areas and limits, for
// the guide.
func StylesMarkdown() string {
	s := Styles()
	var b strings.Builder
	line := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	head := func(cells ...string) {
		line(cells...)
		fmt.Fprintln(&b, "|"+strings.Repeat("---|", len(cells)))
	}
	head("Preset", "Picture", "What it is", "Size, weight", "Animation")
	for _, p := range s.Presets {
		line("`"+string(p.Name)+"`", fmt.Sprintf("![%s](pictures/%s.jpg)", p.Name, p.Name), p.Summary,
			fmt.Sprintf("%g, %d", p.Style.Font.Size.Pixels, p.Style.Font.Weight), "`"+string(p.Style.Animation)+"`")
	}
	fmt.Fprintln(&b)
	head("Animation", "What it does", "Needs times of words")
	for _, a := range s.Animations {
		line("`"+string(a.Name)+"`", a.Summary, yes(a.Words))
	}
	fmt.Fprintln(&b)
	head("Safe area", "Top", "Right", "Bottom", "Left")
	for _, a := range s.SafeAreas {
		name := "`" + a.Name + "`"
		if a.Shape != "" {
			name += ", " + a.Shape + " pictures"
		}
		line(name, percent(a.Top), percent(a.Right), percent(a.Bottom), percent(a.Left))
	}
	fmt.Fprintln(&b)
	head("Member of `style`", "Least", "Most")
	for _, path := range slices.Sorted(maps.Keys(s.Limits)) {
		line("`"+path+"`", fmt.Sprintf("%g", s.Limits[path].Min), fmt.Sprintf("%g", s.Limits[path].Max))
	}
	return b.String()
}

func percent(f float64) string { return fmt.Sprintf("%g %%", f) }

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
