package probe

import (
	_ "embed"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

//go:embed vocabulary.txt
var vocabularyText string

// vocabulary returns the words that a capture may contain. A lower-case word also permits its upper-case form and the
// form with a capital first letter; any other word permits only itself.
var vocabulary = sync.OnceValue(func() map[string]bool {
	words := make(map[string]bool)
	for word := range strings.FieldsSeq(vocabularyText) {
		words[word] = true
	}
	return words
})

// isPublic reports whether a word is in the vocabulary.
func isPublic(word string) bool {
	words := vocabulary()
	lower := strings.ToLower(word)
	return words[word] || words[lower] && (word == lower || word == strings.ToUpper(word) || word == strings.ToUpper(word[:1])+lower[1:])
}

// The gaps that replace known values.
const (
	gapScheme     = "{scheme}"
	gapHost       = "{host}"
	gapTokenHost  = "{tokenhost}"
	gapRealm      = "{realm}"
	gapService    = "{service}"
	gapRepository = "{repository}"
	gapProject    = "{project}"
	gapRest       = "{rest}"
	gapMissing    = "{missing}"
	gapNobody     = "{nobody}"
	gapOther      = "{other}"
	gapPublic     = "{public}"
	gapTag        = "{tag}"
	gapDigest     = "{digest}"
	gapAccount    = "{account}"
)

var gapNames = []string{
	gapScheme, gapHost, gapTokenHost, gapRealm, gapService, gapRepository, gapProject, gapRest, gapMissing, gapNobody, gapOther,
	gapPublic, gapTag, gapDigest, gapAccount,
}

const (
	unknownMark = "?" // Replaces everything that is not in the vocabulary.
	numberMark  = "N" // Replaces a number.

	// punctuation lists the characters that are kept. They show the structure of a text and reveal no identity.
	punctuation = " .,:;/\"'=()[]{}<>&_-*!+|"

	maxText = 4 << 10
)

// A known value is replaced by a gap.
type known struct {
	value string // In lower case.
	gap   string
}

// A redactor reduces texts of a registry to the vocabulary.
type redactor struct {
	values []known // Longest first.
	// realm and service are the values of most of the registry's challenges, in which they are replaced as a whole.
	realm, service string
}

// know adds a value that has to be replaced by a gap. Single words of the vocabulary and numbers are not replaced: a
// word that is in every capture reveals nothing, and a gap in its place would reveal the value.
func (r *redactor) know(gap, value string) {
	value = strings.ToLower(value)
	if value == "" || strings.Trim(value, "0123456789") == "" || isPublic(value) {
		return
	}
	if slices.ContainsFunc(r.values, func(k known) bool { return k.value == value }) {
		return
	}
	r.values = append(r.values, known{value, gap})
	slices.SortStableFunc(r.values, func(a, b known) int { return len(b.value) - len(a.value) })
}

// A piece is a part of a redacted text.
type piece struct {
	kind pieceKind
	text string
}

type pieceKind int

const (
	wordPiece pieceKind = iota // A word of the vocabulary, or a gap.
	unknownPiece
	numberPiece
	punctuationPiece
)

// text returns the redacted form of a text.
func (r *redactor) text(s string) string {
	s = strings.TrimSpace(s[:min(len(s), maxText)])
	if plain, err := url.PathUnescape(s); err == nil {
		s = strings.TrimSpace(plain)
	}
	var pieces []piece
	for before := rune(0); s != ""; {
		if gap, n := r.gapAt(s, before); n > 0 {
			pieces = append(pieces, piece{wordPiece, gap})
			before, s = '}', s[n:]
			continue
		}
		c, size := utf8.DecodeRuneInString(s)
		if isWordRune(c) {
			end := strings.IndexFunc(s, func(c rune) bool { return !isWordRune(c) })
			if end < 0 {
				end = len(s)
			}
			pieces = append(pieces, wordOf(s[:end]))
			before, s = 'a', s[end:]
			continue
		}
		kind := punctuationPiece
		if !strings.ContainsRune(punctuation, c) {
			kind = unknownPiece
			if unicode.IsSpace(c) {
				kind, c = punctuationPiece, ' '
			}
		}
		pieces = append(pieces, piece{kind, string(c)})
		before, s = c, s[size:]
	}
	return join(pieces)
}

func isWordRune(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func wordOf(word string) piece {
	switch {
	case word == numberMark, strings.Trim(word, "0123456789") == "":
		return piece{numberPiece, numberMark}
	case isPublic(word):
		return piece{wordPiece, word}
	}
	return piece{unknownPiece, unknownMark}
}

// gapAt returns the gap at the start of s, and the length of what it replaces. A value counts only as whole words.
func (r *redactor) gapAt(s string, before rune) (gap string, n int) {
	for _, gap := range gapNames { // A text that is redacted already stays as it is.
		if strings.HasPrefix(s, gap) {
			return gap, len(gap)
		}
	}
	if isWordRune(before) {
		return "", 0
	}
	for _, k := range r.values {
		n := len(k.value)
		if len(s) < n || !strings.EqualFold(s[:n], k.value) {
			continue
		}
		if n < len(s) && isWordRune(rune(s[n])) && isWordRune(rune(s[n-1])) {
			continue
		}
		return k.gap, n
	}
	return "", 0
}

// join returns the text of the pieces. Unknown pieces with only punctuation, numbers and short words between them become
// one, because the structure of an unknown name is part of the name, and short words occur in random text.
func join(pieces []piece) string {
	var b strings.Builder
	for i := 0; i < len(pieces); i++ {
		if p := pieces[i]; p.kind != unknownPiece && p.kind != numberPiece {
			b.WriteString(p.text)
			continue
		}
		// The run of unknown pieces and numbers that starts here.
		end, secret := i, pieces[i].kind == unknownPiece
		for j := i + 1; j < len(pieces); j++ {
			p := pieces[j]
			if p.kind == unknownPiece || p.kind == numberPiece {
				end, secret = j, secret || p.kind == unknownPiece
			} else if p.kind == wordPiece && len(p.text) > 3 || strings.Contains(" \"'{}[]<>()", p.text) {
				break
			}
		}
		if secret {
			b.WriteString(unknownMark)
			i = end
		} else {
			b.WriteString(numberMark)
		}
	}
	return b.String()
}

// clean reports whether a text is already redacted.
func clean(s string) bool {
	var r redactor
	return r.text(s) == s
}

// json returns the redacted form of a JSON value. An object has the redacted names of its fields in order, and an array
// has each different element. The lists of names that registries return are left out. Strings are in single quotes,
// because the form itself becomes a JSON string.
func (r *redactor) json(v any, depth int) string {
	if depth > 6 {
		return "'" + unknownMark + "'"
	}
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "true"
	case float64:
		return numberMark
	case string:
		return "'" + strings.ReplaceAll(r.text(v), `"`, "'") + "'"
	case []any:
		var elements []string
		for _, e := range v[:min(len(v), 32)] {
			if s := r.json(e, depth+1); !slices.Contains(elements, s) {
				elements = append(elements, s)
			}
		}
		return "[" + strings.Join(elements, ",") + "]"
	case map[string]any:
		var fields []string
		for name, e := range v {
			value := "[" + numberMark + "]"
			if _, list := e.([]any); !list || depth > 0 || name != "tags" && name != "repositories" {
				value = r.json(e, depth+1)
			}
			var none redactor
			if field := "'" + none.text(name) + "':" + value; !slices.Contains(fields, field) {
				fields = append(fields, field)
			}
		}
		slices.Sort(fields)
		return "{" + strings.Join(fields[:min(len(fields), 32)], ",") + "}"
	}
	return ""
}

// hideTexts replaces all texts in the fields of an object, such as tokens and times.
func hideTexts(object map[string]any) {
	for name, v := range object {
		if text, ok := v.(string); ok && text != "" {
			object[name] = unknownMark
		}
	}
}

// parseJSON returns the value of a JSON text, and whether it is one.
func parseJSON(body []byte) (v any, ok bool) {
	return v, json.Unmarshal(body, &v) == nil
}
