package ffmpeg

import "golang.org/x/text/language"

// trackLanguage returns the three letters by which MP4 names a language (ISO
// 639-2/T) for a tag of BCP 47, and "und" where it has none.
func trackLanguage(tag string) string {
	parsed, err := language.Parse(tag)
	if err != nil {
		return "und"
	}
	base, _, _ := parsed.Raw() // what it says, and not what it makes likely
	if iso := base.ISO3(); len(iso) == 3 {
		return iso
	}
	return "und"
}
