package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// scope is the table that keys belong to. A nil table takes none: its header
// is wrong, and what stands below it is not looked at.
type scope struct {
	table *table
	i, j  int
	owner any
}

func (s scope) place(key string) place {
	return place{table: s.table.path, i: s.i, j: s.j, key: key}
}

// name says which of the scope's values a message is about.
func (s scope) name(key string) string { return s.table.name(s.owner, key) }

// decoder walks the expressions of a TOML document and fills in a Config,
// noting where each value was and what is wrong with it.
type decoder struct {
	c      *Config
	tables map[string]*table
	paths  []string
	data   []byte
	lines  lines
	base   int // offset of the part of data that is being parsed
	source *source
	list   *problems
	now    scope
}

func newDecoder(c *Config, tables []table, data []byte, src *source, list *problems) *decoder {
	d := &decoder{
		c: c, tables: make(map[string]*table, len(tables)), data: data, lines: newLines(data),
		source: src, list: list,
	}
	for i := range tables {
		t := &tables[i]
		d.tables[t.path] = t
		if t.path != "" {
			d.paths = append(d.paths, t.path)
		}
	}
	d.now = d.enter(d.tables[""])
	return d
}

// enter gives the scope of a table that is there once.
func (d *decoder) enter(t *table) scope {
	s := scope{table: t}
	t.owners(d.c, func(_, _ int, owner any) { s.owner = owner })
	return s
}

// maxSyntaxErrors bounds how often parsing starts again after a syntax error.
const maxSyntaxErrors = 20

// run reads the whole document. The parser stops at a syntax error; run starts
// it again behind the error, so that one run finds them all.
func (d *decoder) run() {
	retried := -1 // offset of an error that parsing was started again before
	for errs := 0; errs < maxSyntaxErrors; {
		err := d.parseFrom(d.base)
		if err == nil {
			return
		}
		offset := d.errorOffset(err)
		if offset != retried {
			errs++
			d.syntaxError(err, offset)
		}
		line := d.lines.line(offset)
		// The error may show only where the next expression starts, as with
		// a list that is not closed. So its line gets a chance of its own.
		if start := d.lines.starts[line]; start > d.base && offset != retried {
			retried, d.base = offset, start
			continue
		}
		d.spoil(line)
		retried = -1
		if line+1 >= len(d.lines.starts) {
			return
		}
		d.base = d.lines.starts[line+1]
	}
}

func (d *decoder) parseFrom(offset int) error {
	part := d.data[offset:len(d.data):len(d.data)]
	var p unstable.Parser
	p.Reset(part)
	for p.NextExpression() {
		d.expression(p.Expression())
	}
	return p.Error()
}

// errorOffset finds where in the document a parser's error is.
func (d *decoder) errorOffset(err error) int {
	var perr *unstable.ParserError
	if !errors.As(err, &perr) {
		return d.base
	}
	return min(len(d.data)-cap(perr.Highlight), max(len(d.data)-1, 0))
}

func (d *decoder) syntaxError(err error, offset int) {
	d.source.broken = true
	if d.now.table != nil {
		d.source.bad[d.now.place("")] = true
	}
	d.list.add(d.lines.position(offset), err.Error(), syntaxRemedy(err.Error()))
}

// spoil ends the current table if the line that cannot be read was a header.
func (d *decoder) spoil(line int) {
	rest := d.data[d.lines.starts[line]:]
	if strings.HasPrefix(strings.TrimLeft(string(rest[:min(len(rest), 64)]), " \t"), "[") {
		d.now = scope{}
	}
}

// syntaxRemedies are the parser's messages that people meet, each with what
// usually helps.
var syntaxRemedies = []struct{ message, remedy string }{
	{"U+000A at start of value", "write a value behind the ="},
	{"U+000D at start of value", "write a value behind the ="},
	{"at start of value", `text, durations and addresses stand in quotes: "…"`},
	{"strings must be quoted", `text and durations stand in quotes: "5s"`},
	{"cannot have new lines", "close the quotes on the same line"},
	{"leading zeroes", "leave out the zeroes in front"},
	{"control characters", `write it as \u and four hex digits, or leave it out`},
	{"U+0000", "save the file as UTF-8 text"},
	{"U+FFFD", "save the file as UTF-8 text"},
	{"U+00FF", "save the file as UTF-8 text"},
	{"U+00FE", "save the file as UTF-8 text"},
	{"at start of key", "a key has letters, digits, - and _"},
	{"unterminated", "close the quotes on the same line"},
	{"not terminated", "close the quotes"},
	{"expected '=' after key", "key = value"},
	{"expected value", "write a value behind the ="},
	{"expected newline", "one setting a line; a comment starts with #"},
	{"to close", "[table] for one, [[table]] for one of several"},
	{"after array value", `put a comma between the elements and a ] behind the last`},
	{"array is incomplete", "put a ] behind the last element"},
	{"invalid UTF-8", "save the file as UTF-8"},
}

func syntaxRemedy(message string) string {
	for _, r := range syntaxRemedies {
		if strings.Contains(message, r.message) {
			return r.remedy
		}
	}
	return "see https://toml.io for how values are written"
}

func (d *decoder) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		d.header(e)
	case unstable.KeyValue:
		if d.now.table != nil {
			d.keyValue(d.now, e)
		}
	}
}

// offset finds where in the document a node with a raw range starts.
func (d *decoder) offset(n *unstable.Node) int { return d.base + int(n.Raw.Offset) }

// header enters the table of a [path] or [[path]] line.
func (d *decoder) header(e *unstable.Node) {
	path, at := d.headerPath(e)
	t := d.tables[path]
	if t == nil || path == "" {
		d.now = scope{}
		d.unknownTable(path, at)
		return
	}
	if t.many != (e.Kind == unstable.ArrayTable) {
		d.list.add(at, fmt.Sprintf("%s is written %s", path, t.header()), t.header())
	}
	d.now = d.open(t, at)
}

// headerPath joins a header's key and finds its first bracket.
func (d *decoder) headerPath(e *unstable.Node) (string, position) {
	var parts []string
	first := -1
	for it := e.Key(); it.Next(); {
		if first < 0 {
			first = d.offset(it.Node())
		}
		parts = append(parts, keyPart(it.Node()))
	}
	for first > 0 && strings.IndexByte("[ \t", d.data[first-1]) >= 0 {
		first--
	}
	return strings.Join(parts, "."), d.lines.position(first)
}

// keyPart is one part of a dotted key. A part with a dot of its own is quoted,
// so that it is not taken for two.
func keyPart(n *unstable.Node) string {
	if s := string(n.Data); !strings.Contains(s, ".") {
		return s
	}
	return quote(string(n.Data))
}

// open enters a table, making a new element if it is one of several.
func (d *decoder) open(t *table, at position) scope {
	if !t.many {
		s := d.enter(t)
		if before, ok := d.source.at[s.place("")]; ok {
			d.list.add(at, fmt.Sprintf("%s is there twice, first in line %d", t.header(), before.line),
				fmt.Sprintf("move these settings to line %d", before.line))
			return s
		}
		d.source.at[s.place("")] = at
		return s
	}
	i, j, owner, ok := t.add(d.c)
	if !ok {
		d.list.add(at, t.header()+" has no [[switch]] above it", "put it below the [[switch]] that it belongs to")
		return scope{}
	}
	s := scope{table: t, i: i, j: j, owner: owner}
	d.source.at[s.place("")] = at
	return s
}

func (d *decoder) unknownTable(path string, at position) {
	remedy := "tables: " + strings.Join(d.groups(), ", ")
	if meant := nearest(path, d.paths); meant != "" {
		remedy = "did you mean " + d.tables[meant].header() + "?"
	}
	if len(d.paths) == 0 {
		remedy = "this file has no tables"
	}
	d.list.add(at, "unknown table "+show(path), remedy)
}

// groups lists the tables with those of the verbs in one.
func (d *decoder) groups() []string {
	var groups []string
	for _, path := range d.paths {
		switch {
		case path == "guard":
			groups = append(groups, "guard.VERB")
		case !strings.HasPrefix(path, "guard."):
			groups = append(groups, path)
		}
	}
	return groups
}

// keyValue stores a setting. Dotted keys and inline tables lead to the same
// places as headers do.
func (d *decoder) keyValue(s scope, e *unstable.Node) {
	for it := e.Key(); it.Next(); {
		part := keyPart(it.Node())
		at := d.lines.position(d.offset(it.Node()))
		child := d.child(s, part)
		switch {
		case child != nil && !it.IsLast() && !child.many:
			s = d.enter(child)
		case child != nil && it.IsLast() && s.table.field(part) == nil:
			d.inline(child, e.Value(), at)
		case !it.IsLast():
			d.unknownKey(s, string(it.Node().Data), at)
			return
		case s.table.field(part) == nil:
			d.unknownKey(s, string(it.Node().Data), at)
		default:
			d.setting(s, part, at, e.Value())
		}
	}
}

// child finds the table that a key of s's table would be.
func (d *decoder) child(s scope, part string) *table {
	if s.table.path == "" {
		return d.tables[part]
	}
	return d.tables[s.table.path+"."+part]
}

// inline reads a table, or several, written as a value.
func (d *decoder) inline(t *table, v *unstable.Node, at position) {
	switch {
	case !t.many && v.Kind == unstable.InlineTable:
		d.inlineKeys(d.open(t, at), v)
	case t.many && v.Kind == unstable.Array:
		for it := v.Children(); it.Next(); {
			e := it.Node()
			if e.Kind != unstable.InlineTable {
				d.list.add(at, fmt.Sprintf("%s is a table, got %s", t.path, kindName(e)), t.header())
				return
			}
			d.inlineKeys(d.open(t, d.lines.position(d.offset(e))), e)
		}
	default:
		d.list.add(at, fmt.Sprintf("%s is a table, got %s", t.path, kindName(v)), t.header())
	}
}

func (d *decoder) inlineKeys(s scope, v *unstable.Node) {
	if s.table == nil {
		return
	}
	for it := v.Children(); it.Next(); {
		d.keyValue(s, it.Node())
	}
}

func (d *decoder) setting(s scope, key string, at position, v *unstable.Node) {
	f := s.table.field(key)
	p := s.place(key)
	if before, ok := d.source.at[p]; ok {
		d.list.add(at, fmt.Sprintf("%s is set twice, first in line %d", s.name(key), before.line), "delete one of them")
		return
	}
	if v.Raw.Length > 0 {
		at = d.lines.position(d.offset(v))
	}
	d.source.at[p] = at
	target := f.ref(s.owner)
	switch list := target.(type) {
	case *[]string:
		d.texts(s, key, at, v, func(text string) *fault {
			*list = append(*list, text)
			return nil
		})
		return
	case *[]netip.Addr:
		d.texts(s, key, at, v, func(text string) *fault {
			a, f := parseAddr(text)
			if f == nil {
				*list = append(*list, a)
			}
			return f
		})
		return
	case *[]netip.Prefix:
		d.texts(s, key, at, v, func(text string) *fault {
			p, f := parseNetwork(text)
			if f == nil {
				*list = append(*list, p)
			}
			return f
		})
		return
	}
	if wrong := decode(v, target); wrong != nil {
		if f.secret {
			wrong = faultf("quotes around it", "want text in quotes")
		}
		d.source.bad[p] = true
		d.list.add(at, s.name(key)+": "+wrong.message, wrong.remedy)
	}
}

// texts reads a list of texts, noting where each element that add takes is.
func (d *decoder) texts(s scope, key string, at position, v *unstable.Node, add func(string) *fault) {
	if v.Kind != unstable.Array {
		d.source.bad[s.place(key)] = true
		d.list.add(at, fmt.Sprintf("%s: want a list of texts, got %s", s.name(key), kindName(v)), `["one", "two"]`)
		return
	}
	n := 0
	for it := v.Children(); it.Next(); {
		e := it.Node()
		if e.Raw.Length > 0 {
			at = d.lines.position(d.offset(e))
		}
		wrong := wantText(e)
		if e.Kind == unstable.String {
			wrong = add(string(e.Data))
		}
		if wrong != nil {
			d.list.add(at, s.name(key)+": "+wrong.message, wrong.remedy)
			continue
		}
		d.source.at[s.place(element(key, n))] = at
		n++
	}
}

// element names the n-th of a list in a place, counted from 0.
func element(key string, n int) string { return fmt.Sprintf("%s %d", key, n+1) }

func (d *decoder) unknownKey(s scope, key string, at position) {
	d.list.add(at, "unknown key "+show(key)+d.in(s), d.keyRemedy(s, key))
}

// in says where a key stands.
func (d *decoder) in(s scope) string {
	if s.table.path == "" {
		return ""
	}
	return " in " + s.table.header()
}

// keyRemedy finds the key that was meant, or the table it belongs to.
func (d *decoder) keyRemedy(s scope, key string) string {
	keys := s.table.keys()
	if meant := nearest(key, keys); meant != "" {
		return "did you mean " + meant + "?"
	}
	for _, path := range d.paths {
		if t := d.tables[path]; t.field(key) != nil && !strings.HasPrefix(path, "guard.") {
			return "it belongs in " + t.header()
		}
	}
	if len(keys) == 0 {
		return "[guard.cycle] and the like have settings"
	}
	return "keys: " + strings.Join(keys, ", ")
}
