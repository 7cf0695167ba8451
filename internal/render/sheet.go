package render

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
)

// gap is between the frames of a sheet, in pixels.
const gap = 6

// sheetOf lays pictures of one size out, three a row.
func sheetOf(files []string) ([]byte, error) {
	var sheet *image.RGBA
	var cell image.Rectangle
	for i, path := range files {
		picture, err := readPNG(path)
		if err != nil {
			return nil, err
		}
		if sheet == nil {
			cell = picture.Bounds()
			rows := (len(files) + 2) / 3
			sheet = image.NewRGBA(image.Rect(0, 0, 3*cell.Dx()+2*gap, rows*cell.Dy()+(rows-1)*gap))
			for i := range sheet.Pix {
				sheet.Pix[i] = 0xff // white between the frames
			}
		}
		at := image.Pt(i%3*(cell.Dx()+gap), i/3*(cell.Dy()+gap))
		draw.Draw(sheet, cell.Sub(cell.Min).Add(at), picture, picture.Bounds().Min, draw.Src)
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&out, sheet); err != nil {
		return nil, fmt.Errorf("write sheet: %w", err)
	}
	return out.Bytes(), nil
}

func readPNG(path string) (image.Image, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	return picture, nil
}
