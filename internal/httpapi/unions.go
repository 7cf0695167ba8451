package httpapi

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
)

// Members that may be written in one of two ways, as the OpenAPI document has
// them. Each type here stands for one of package apigpu, which knows no huma.

type (
	lengthSchema     struct{}
	positionSchema   struct{}
	safeAreaSchema   struct{}
	resolutionSchema struct{}
	frameRateSchema  struct{}
	secondsSchema    struct{}
)

// describeUnions makes r describe them.
func describeUnions(r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[apigpu.Length](), reflect.TypeFor[lengthSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[apigpu.Position](), reflect.TypeFor[positionSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[apigpu.SafeArea](), reflect.TypeFor[safeAreaSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[apigpu.Resolution](), reflect.TypeFor[resolutionSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[apigpu.FrameRate](), reflect.TypeFor[frameRateSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[apigpu.Seconds](), reflect.TypeFor[secondsSchema]())
}

func (lengthSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: `Reference pixels (the short side of the picture is 1080), or a share of the short side such as "5%"`,
		AnyOf:       []*huma.Schema{{Type: "number"}, {Type: "string", Pattern: `^\s*\d+(\.\d+)?\s*%?\s*$`}},
	}
}

func (positionSchema) Schema(huma.Registry) *huma.Schema {
	return nameOrFigures("One of nine places within the safe area, or the middle of the captions in percent of the picture",
		apigpu.Positions(), map[string]*huma.Schema{"x": percent(100), "y": percent(100)}, "x", "y")
}

func (safeAreaSchema) Schema(huma.Registry) *huma.Schema {
	return nameOrFigures("Where captions may be: that of a platform, or what stays free at each edge, in percent", apigpu.SafeAreas(),
		map[string]*huma.Schema{"top": percent(45), "right": percent(45), "bottom": percent(45), "left": percent(45)})
}

func (resolutionSchema) Schema(huma.Registry) *huma.Schema {
	low, high := 16., 8192.
	side := &huma.Schema{Type: "integer", Minimum: &low, Maximum: &high, Description: "Pixels"}
	fit := &huma.Schema{Type: "string", Enum: []any{apigpu.FitContain, apigpu.FitCover, apigpu.FitStretch}}
	return nameOrFigures("Short side of the result, which is never made larger; or a box in pixels", apigpu.Resolutions(),
		map[string]*huma.Schema{"w": side, "h": side, "fit": fit}, "w", "h")
}

func (frameRateSchema) Schema(huma.Registry) *huma.Schema {
	low, high := 1., 120.
	return &huma.Schema{
		Description: "Frames per second, or source",
		AnyOf:       []*huma.Schema{{Type: "number", Minimum: &low, Maximum: &high}, {Type: "string", Enum: []any{"source"}}},
	}
}

func (secondsSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: `Seconds, or a time code such as "1:02:03.5"`,
		AnyOf:       []*huma.Schema{{Type: "number"}, {Type: "string"}},
	}
}

func nameOrFigures(what string, names []string, figures map[string]*huma.Schema, required ...string) *huma.Schema {
	enum := make([]any, len(names))
	for i, name := range names {
		enum[i] = name
	}
	return &huma.Schema{Description: what, AnyOf: []*huma.Schema{
		{Type: "string", Enum: enum},
		{Type: "object", Properties: figures, Required: required},
	}}
}

func percent(most float64) *huma.Schema {
	low := 0.
	return &huma.Schema{Type: "number", Minimum: &low, Maximum: &most}
}
