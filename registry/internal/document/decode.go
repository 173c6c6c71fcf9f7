package document

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/regcred/regcred/credentials"
	"github.com/regcred/regcred/field"
)

// A Decoder decodes values and records their problems.
type Decoder struct {
	Problems field.List
	// Secret, if not nil, decodes each secret from the node at which a plain secret is a string.
	Secret func(path string, n *Node) (credentials.Secret, error)

	count int
}

// maxProblems bounds the error for a file that does not hold profiles.
const maxProblems = 100

// more counts a problem, and reports whether the problem is still within maxProblems and should be recorded.
func (d *Decoder) more() bool {
	d.count++
	if d.count == maxProblems+1 {
		d.Problems.Add("", fmt.Sprintf("more than %d problems", maxProblems), "")
	}
	return d.count <= maxProblems
}

var (
	secretType = reflect.TypeFor[credentials.Secret]()
	timeType   = reflect.TypeFor[time.Time]()
)

// objectAsSecret is the path of the only secret that is itself JSON, and may therefore be sent as an object.
const objectAsSecret = "login.google.credentials"

// List decodes one T, a list of them, or an object with the list under name. It returns nil if there is any problem.
func List[T any](d *Decoder, root *Node, name string) []T {
	var list []T
	if inner := root.Get(name); inner != nil {
		d.members(root, "", func(m Member, path string) {
			if m.Name != name {
				d.unknown(m, path, []string{name})
			}
		})
		root = inner
		if root.Kind != Array {
			d.wrongType(root, name, "a list in [ ]")
		}
	} else {
		name = ""
	}
	if root.Kind == Array {
		list = make([]T, len(root.Items))
		for i, item := range root.Items {
			d.whole(item, reflect.ValueOf(&list[i]).Elem(), fmt.Sprintf("%s[%d]", name, i))
		}
	} else if name == "" {
		list = make([]T, 1)
		d.whole(root, reflect.ValueOf(&list[0]).Elem(), "")
	}
	if d.Problems.Err("") != nil {
		return nil
	}
	return list
}

// whole decodes a value that must not be null.
func (d *Decoder) whole(n *Node, into reflect.Value, path string) {
	if n.Kind == Null {
		d.wrongType(n, path, "an object in { }")
		return
	}
	d.Decode(n, into, path)
}

// Decode decodes the value at path. Null is the zero value.
func (d *Decoder) Decode(n *Node, into reflect.Value, path string) {
	if t := into.Type(); t.Kind() == reflect.String || t == secretType || t == timeType {
		n = n.text()
	}
	switch {
	case n.Kind == Invalid:
		d.fail(n, path, n.Err)
		return
	case into.Type() == secretType:
		d.secret(n, into, path)
		return
	case n.Kind == Null:
		return
	case into.Type() == timeType:
		var instant time.Time
		if n.Kind != String || instant.UnmarshalText([]byte(n.Text)) != nil {
			d.add(n, path, "cannot be read", "an instant in quotes, such as 2027-01-31T00:00:00Z")
		}
		into.Set(reflect.ValueOf(instant))
		return
	}
	want := ""
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.Decode(n, into.Elem(), path)
	case reflect.Struct:
		if want = "an object in { }"; n.Kind == Object {
			d.object(n, into, path)
			return
		}
	case reflect.Map:
		if want = "an object in { }"; n.Kind == Object {
			into.Set(reflect.MakeMap(into.Type()))
			d.members(n, path, func(m Member, path string) {
				value := reflect.New(into.Type().Elem()).Elem()
				d.Decode(m.Value, value, path)
				into.SetMapIndex(reflect.ValueOf(m.Name), value)
			})
			return
		}
	case reflect.Slice:
		if want = "a list in [ ]"; n.Kind == Array {
			into.Set(reflect.MakeSlice(into.Type(), len(n.Items), len(n.Items)))
			for i, item := range n.Items {
				d.Decode(item, into.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
			return
		}
	case reflect.Bool:
		if want = "true or false"; n.Kind == Bool {
			into.SetBool(n.Bool)
			return
		}
	case reflect.String:
		if want = textInQuotes; n.Kind == String {
			into.SetString(n.Text)
			return
		}
	default:
		panic("document: cannot decode a " + into.Type().String())
	}
	if want != "" {
		d.wrongType(n, path, want)
	}
}

const textInQuotes = `text in quotes, also if it is all digits: "12345"`

func (d *Decoder) secret(n *Node, into reflect.Value, path string) {
	if d.Secret == nil {
		into.Set(reflect.ValueOf(d.DecodeSecret(n, path)))
		return
	}
	s, err := d.Secret(path, n)
	d.fail(n, path, err)
	into.Set(reflect.ValueOf(s))
}

// DecodeSecret decodes a secret as plain text.
func (d *Decoder) DecodeSecret(n *Node, path string) credentials.Secret {
	var s credentials.Secret
	var err error
	switch {
	case n.Kind == Null:
	case n.Kind == String:
		s = credentials.NewSecret(n.Text)
	case n.Kind == Object && strings.HasSuffix(path, objectAsSecret):
		var text []byte
		text, err = n.AppendJSON(nil)
		s = credentials.NewSecret(string(text))
	default:
		d.wrongType(n, path, textInQuotes)
	}
	d.fail(n, path, err)
	return s
}

func (d *Decoder) object(n *Node, into reflect.Value, path string) {
	d.members(n, path, func(m Member, path string) {
		for name, f := range Fields(into.Type()) {
			if name == m.Name {
				d.Decode(m.Value, into.FieldByIndex(f.Index), path)
				return
			}
		}
		var names []string
		for name := range Fields(into.Type()) {
			names = append(names, name)
		}
		d.unknown(m, path, names)
	})
}

// members calls the function each with every member and its path, and reports repeated members.
func (d *Decoder) members(n *Node, path string, each func(m Member, path string)) {
	seen := make(map[string]bool)
	for _, m := range n.Members {
		at := strings.TrimPrefix(path+"."+m.Name, ".")
		if seen[m.Name] {
			d.add(&Node{Line: m.Line}, at, "is repeated in one object", "it once")
			continue
		}
		seen[m.Name] = true
		each(m, at)
	}
}

// unknown reports a field that does not exist. It suggests a name that differs only slightly, if there is one.
func (d *Decoder) unknown(m Member, path string, names []string) {
	want := strings.Join(names, ", ")
	for _, name := range names {
		if similar(m.Name, name) {
			want = name
		}
	}
	d.add(&Node{Line: m.Line}, path, "is not a field of a profile", want)
}

// similar reports whether two names differ in case only, or in one letter that is missing, added, changed or swapped
// with the next one.
func similar(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a == b {
		return true
	}
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	for i = 0; i < min(len(a), len(b)) && a[len(a)-1-i] == b[len(b)-1-i]; {
		i++
	}
	a, b = a[:len(a)-i], b[:len(b)-i]
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

func (d *Decoder) add(n *Node, path, problem, want string) {
	if d.more() {
		d.Problems.Add(path, problem, want).Line = n.Line
	}
}

func (d *Decoder) wrongType(n *Node, path, want string) {
	if n.Kind == Invalid {
		d.fail(n, path, n.Err)
		return
	}
	if want == textInQuotes && n.isReference() {
		d.add(n, path, "is {"+n.Members[0].Name+": ...}, which only package registry/profilefile looks up", "the text itself")
		return
	}
	d.add(n, path, "is of type "+string(n.Kind), want)
}

// fail records err at the line of the node, unless err is nil.
func (d *Decoder) fail(n *Node, path string, err error) {
	var own field.List
	own.Under(path, err)
	if own.Err("") == nil || !d.more() {
		return
	}
	for _, f := range own.Err("").(*field.Errors).Fields {
		f.Line = n.Line
	}
	d.Problems.Under("", own.Err(""))
}
