package font

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-text/typesetting/segmenter"

	"github.com/api-gpu/api-gpu/internal/caption"
)

// Use is which fonts texts are drawn with.
type Use struct {
	// Families are their names, that of most of the text first.
	Families []string
	// Missing are the characters that no font has, rising.
	Missing []rune
}

// Use tells what texts are drawn with, as Runs chooses it, without measuring
// any. coloured says that emoji are drawn in colour, where there is a picture.
// It takes a second for some millions of different characters, and less than a
// tenth of it for as many of one script.
func (s *Set) Use(texts []string, want caption.Face, lang string, coloured bool) Use {
	if want.Family == "" || !s.Has(want.Family) {
		want.Family = s.base
	}
	count := map[string]int{} // cluster → how often
	var seg segmenter.Segmenter
	for _, text := range texts {
		if isPlain(text) {
			for i := range len(text) {
				if text[i] > ' ' {
					count[text[i:i+1]]++
				}
			}
			continue
		}
		if seg.InitWithString(text) != nil {
			continue
		}
		for it := seg.GraphemeIterator(); it.Next(); {
			g := it.Grapheme()
			if cluster := text[g.OffsetInBytes : g.OffsetInBytes+g.LengthInBytes]; strings.TrimSpace(cluster) != "" {
				count[cluster]++
			}
		}
	}
	used, missing := map[string]int{}, map[rune]bool{}
	for cluster, n := range count {
		first, _ := utf8.DecodeRuneInString(cluster)
		if coloured && (isPicture(first) || strings.ContainsRune(cluster, 0xfe0f)) && s.Pictured(cluster) {
			continue
		}
		s.mu.Lock()
		f := s.drawer(cluster, want, lang)
		s.mu.Unlock()
		if f == nil {
			missing[first] = true
			continue
		}
		used[f.Family] += n
	}
	names := slices.Sorted(maps.Keys(used))
	slices.SortStableFunc(names, func(a, b string) int { return used[b] - used[a] })
	return Use{Families: names, Missing: slices.Sorted(maps.Keys(missing))}
}

// isPlain reports whether each byte of a text is a character of its own.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
