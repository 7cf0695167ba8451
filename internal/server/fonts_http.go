package server

import (
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

type fontsOut struct{ Body apigpu.FontList }

type fontIn struct {
	Family string `path:"family" maxLength:"100" doc:"Name of an uploaded family"`
}

// Register adds the routes to an API.
func (f *Fonts) Register(api *httpapi.API, guard func(http.Handler) http.Handler) {
	list := huma.Operation{OperationID: "list-fonts", Method: http.MethodGet, Path: "/fonts", Summary: "The fonts that captions can be drawn in"}
	huma.Register(api.Huma, api.Operation(list, guard), func(ctx context.Context, _ *struct{}) (*fontsOut, error) {
		data, err := f.List(ctx, httpapi.CallerOf(ctx).Name)
		if err != nil {
			return nil, api.Fault(ctx, err)
		}
		return &fontsOut{apigpu.FontList{Object: "list", Data: data}}, nil
	})
	remove := huma.Operation{
		OperationID: "delete-font", Method: http.MethodDelete, Path: "/fonts/{family}", Summary: "Remove an uploaded font", DefaultStatus: http.StatusNoContent,
	}
	huma.Register(api.Huma, api.Operation(remove, guard), func(ctx context.Context, in *fontIn) (*struct{}, error) {
		if err := f.Delete(ctx, httpapi.CallerOf(ctx).Name, in.Family); err != nil {
			return nil, api.Fault(ctx, err)
		}
		return nil, nil
	})
	api.Mux.Handle("POST /fonts", guard(http.HandlerFunc(f.upload)))
	doc := api.Huma.OpenAPI()
	binary := &huma.Schema{Type: "string", Format: "binary"}
	doc.AddOperation(&huma.Operation{
		OperationID: "upload-font", Method: http.MethodPost, Path: "/fonts", Summary: "Keep a font (TTF, OTF or TTC, up to 20 MB), for style.font.family",
		Security: []map[string][]string{{"key": {}}, {"bearer": {}}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: binary},
			"multipart/form-data":      {Schema: &huma.Schema{Type: "object", Properties: map[string]*huma.Schema{"font": binary}}},
		}},
		Responses: map[string]*huma.Response{
			"201": {Description: "The families that it has", Content: map[string]*huma.MediaType{
				"application/json": {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[apigpu.FontList](), true, "FontList")},
			}},
			"default": {Description: "What went wrong", Content: map[string]*huma.MediaType{
				"application/problem+json": {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[apigpu.Problem](), true, "Problem")},
			}},
		},
	})
	api.Describe(doc.Paths["/fonts"].Get, doc.Paths["/fonts/{family}"].Delete)
}

func (f *Fonts) upload(w http.ResponseWriter, r *http.Request) {
	b, err := readFontFile(w, r)
	if err != nil {
		httpapi.WriteError(w, err)
		return
	}
	added, err := f.Add(r.Context(), httpapi.CallerOf(r.Context()).Name, b)
	if err != nil {
		httpapi.WriteError(w, err)
		return
	}
	own := []apigpu.FontFamily{}
	for _, one := range added {
		if one.Source == apigpu.Uploaded {
			own = append(own, one)
		}
	}
	httpapi.WriteJSON(w, http.StatusCreated, apigpu.FontList{Object: "list", Data: own})
}

// formRoom is what a form may add to the font that it holds, in bytes.
const formRoom = 64 << 10

// readFontFile reads a font that is the body, or the part named font of a form.
func readFontFile(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body := io.Reader(http.MaxBytesReader(w, r.Body, apigpu.MaxFont+formRoom))
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "multipart/form-data" && params["boundary"] != "" {
		form := multipart.NewReader(body, params["boundary"])
		part, err := form.NextPart()
		if err != nil || part.FormName() != "font" {
			return nil, apigpu.E(apigpu.InvalidRequest, err, "The form must have one part, the file font.").WithField("font").
				WithHint("curl -F font=@file.ttf")
		}
		body = part
	}
	b, err := io.ReadAll(io.LimitReader(body, apigpu.MaxFont+1))
	switch {
	case len(b) > apigpu.MaxFont:
		return nil, apigpu.E(apigpu.TooLarge, err, "The font has more than %d bytes.", apigpu.MaxFont).WithField("font")
	case err != nil:
		return nil, apigpu.E(apigpu.InvalidRequest, err, "The body ended before it was complete.")
	case len(b) == 0:
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "The font is the body, or the file font of a form: there is neither.").WithField("font")
	}
	return b, nil
}
