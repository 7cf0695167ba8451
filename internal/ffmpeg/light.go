package ffmpeg

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Light is what HDR10 tells a screen about the picture: the colours and the
// light of the screen that it was made on (SMPTE ST 2086), and how bright it
// gets (CTA-861.3). The zero value tells nothing.
type Light struct {
	// Primaries are x and y of green, blue, red and white, in 1/50000.
	Primaries [8]int
	// Most and Least are the light of that screen, in 1/10000 nit.
	Most, Least int
	// Peak and Mean are the brightest pixel and the brightest frame, in nits.
	Peak, Mean int
}

// lightEntries names what is asked of ffprobe.
const lightEntries = "frame=pts:frame_side_data=side_data_type,red_x,red_y,green_x,green_y,blue_x,blue_y," +
	"white_point_x,white_point_y,min_luminance,max_luminance,max_content,max_average"

// Light reads what the first frame of the chosen video says about its light.
// Files that say nothing, or not so that it can be read, give the zero value:
// screens then take a usual one.
func (t Tools) Light(ctx context.Context, path string, p Probe) Light {
	out, err := t.look(ctx, probeTimeout,
		"-hide_banner", "-v", "error", "-max_alloc", maxAlloc,
		"-protocol_whitelist", protocols, "-format_whitelist", formats,
		"-select_streams", strconv.Itoa(p.Video.Index), "-read_intervals", "%+#1",
		"-show_frames", "-show_entries", lightEntries, "-of", "json", "-i", "file:"+path)
	if err != nil {
		return Light{}
	}
	return parseLight(out)
}

func parseLight(answer []byte) (l Light) {
	var in struct {
		Frames []struct {
			SideData []map[string]any `json:"side_data_list"`
		} `json:"frames"`
	}
	if json.Unmarshal(answer, &in) != nil || len(in.Frames) == 0 {
		return Light{}
	}
	for _, data := range in.Frames[0].SideData {
		parts := func(name string, per float64) int { return partsOf(data[name], per) }
		switch kind, _ := data["side_data_type"].(string); {
		case strings.HasPrefix(kind, "Mastering display"):
			for i, name := range []string{"green_x", "green_y", "blue_x", "blue_y", "red_x", "red_y", "white_point_x", "white_point_y"} {
				l.Primaries[i] = parts(name, 50000)
			}
			l.Most, l.Least = parts("max_luminance", 10000), parts("min_luminance", 10000)
		case strings.HasPrefix(kind, "Content light level"):
			l.Peak, l.Mean = parts("max_content", 1), parts("max_average", 1)
		}
	}
	return l
}

// partsOf reads 13250/50000, or a number, in parts of which per are one. What
// is no sensible figure is 0.
func partsOf(v any, per float64) int {
	f := 0.
	switch v := v.(type) {
	case float64:
		f = v
	case string:
		f = rational(v, "/").Float()
	}
	if f *= per; !(f >= 0 && f <= math.MaxInt32) {
		return 0
	}
	return int(math.Round(f))
}

// x265 returns the options by which x265 writes it, each with a ":" before.
// NVENC takes none: with FFmpeg before 7.1 it writes none of it.
func (l Light) x265() (options string) {
	if l.Most > l.Least {
		p := l.Primaries
		options += fmt.Sprintf(":hdr10=1:repeat-headers=1:master-display=G(%d,%d)B(%d,%d)R(%d,%d)WP(%d,%d)L(%d,%d)",
			p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], l.Most, l.Least)
	}
	if l.Peak > 0 {
		options += fmt.Sprintf(":max-cll=%d,%d", l.Peak, l.Mean)
	}
	return options
}
