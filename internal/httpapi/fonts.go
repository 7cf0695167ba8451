package httpapi

import (
	"mime/multipart"

	"github.com/api-gpu/api-gpu"
)

// readFont reads a font that is sent along, after those that came before it.
func readFont(part *multipart.Part, before [][]byte) ([][]byte, error) {
	if len(before) >= apigpu.MaxJobFonts {
		return nil, apigpu.E(apigpu.InvalidRequest, nil, "More than %d fonts were sent along.", apigpu.MaxJobFonts).WithField("font")
	}
	left := int64(apigpu.MaxFont)
	for _, b := range before {
		left -= int64(len(b))
	}
	b, err := readPart(part, left)
	if apigpu.CodeOf(err) == apigpu.TooLarge {
		err = apigpu.E(apigpu.TooLarge, err, "The fonts have more than %d bytes together.", apigpu.MaxFont).WithField("font")
	}
	if err != nil {
		return nil, err
	}
	return append(before, b), nil
}
