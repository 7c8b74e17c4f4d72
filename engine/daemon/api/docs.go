package api

import (
	"bytes"
	"cmp"
	"context"
	_ "embed" // of the page's template
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsTemplate string

// pages are the document and what people read of it, drawn once.
type pages struct{ html, json []byte }

type pageOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Body        []byte
}

func (a *API) addDocs(f *family) {
	for _, one := range []struct {
		id, path, contentType, summary, kind string
		body                                 *[]byte
	}{
		{"home", "/{$}", "text/html; charset=utf-8", "This documentation", huma.TypeString, &a.pages.html},
		{"docs", "/docs", "text/html; charset=utf-8", "This documentation", huma.TypeString, &a.pages.html},
		{"openapi", "/openapi.json", "application/json", "The OpenAPI 3.1 document", huma.TypeObject, &a.pages.json},
	} {
		mediaType, _, _ := strings.Cut(one.contentType, ";")
		op := huma.Operation{
			OperationID: one.id, Method: http.MethodGet, Path: one.path, Summary: one.summary, Tags: []string{"Documentation"},
			Responses: map[string]*huma.Response{"200": {
				Description: one.summary, Content: map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: one.kind}}},
			}},
		}
		add(f, op, needNobody, func(context.Context, *caller, *nothing) (*pageOutput, error) {
			return &pageOutput{one.contentType, *one.body}, nil
		})
	}
}

// draw makes the pages of a document that is whole.
func (p *pages) draw(doc *huma.OpenAPI) (err error) {
	// The mux's word for the root alone is its own; the path is /.
	doc.Paths["/"] = doc.Paths["/{$}"]
	delete(doc.Paths, "/{$}")
	if p.json, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("api: draw the document: %w", err)
	}
	t, err := template.New("docs").Funcs(template.FuncMap{"lower": strings.ToLower, "join": strings.Join}).Parse(docsTemplate)
	if err != nil {
		return fmt.Errorf("api: draw the documentation: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, docPage{Title: doc.Info.Title, About: doc.Info.Description, Chapters: chapters(doc)}); err != nil {
		return fmt.Errorf("api: draw the documentation: %w", err)
	}
	p.html = b.Bytes()
	return nil
}

// docPage is what the template draws.
type docPage struct {
	Title, About string
	Chapters     []docChapter
}

type docChapter struct {
	Name, About string
	Operations  []docOperation
}

type docOperation struct {
	ID, Method, Path, Summary, About, Who string
	Params                                []docField
	Request                               []docField
	Answers                               []docAnswer
	Errors                                []string
}

// docField is a parameter or a member of a body.
type docField struct{ Name, Where, Type, About string }

type docAnswer struct {
	Status, About string
	Fields        []docField
}

func chapters(doc *huma.OpenAPI) []docChapter {
	list := make([]docChapter, len(doc.Tags))
	for i, t := range doc.Tags {
		list[i] = docChapter{Name: t.Name, About: t.Description}
	}
	for _, p := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, op := range operationsOf(doc.Paths[p]) {
			i := slices.IndexFunc(list, func(c docChapter) bool { return c.Name == op.Tags[0] })
			list[i].Operations = append(list[i].Operations, describeOperation(doc, p, op))
		}
	}
	return list
}

// operationsOf lists what can be done at a path.
func operationsOf(item *huma.PathItem) []*huma.Operation {
	all := []*huma.Operation{item.Get, item.Post, item.Put, item.Delete}
	return slices.DeleteFunc(all, func(op *huma.Operation) bool { return op == nil })
}

// who says in words whom an operation is for.
var who = map[need]string{needNobody: "anybody", needRead: "any key", needWrite: "a key that may write", needStaff: "staff"}

func describeOperation(doc *huma.OpenAPI, path string, op *huma.Operation) docOperation {
	n, _ := op.Metadata[needKey].(need)
	d := docOperation{ID: op.OperationID, Method: op.Method, Path: path, Summary: op.Summary, About: op.Description, Who: who[n]}
	for _, p := range op.Parameters {
		d.Params = append(d.Params, docField{p.Name, p.In, typeName(p.Schema), cmp.Or(p.Description, p.Schema.Description)})
	}
	if op.RequestBody != nil {
		for kind, media := range op.RequestBody.Content {
			d.Request = append(d.Request, fieldsOf(doc, kind, media.Schema, "")...)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		if status >= "400" {
			d.Errors = append(d.Errors, status+" "+r.Description)
			continue
		}
		a := docAnswer{Status: status, About: r.Description}
		for kind, media := range r.Content {
			a.Fields = append(a.Fields, fieldsOf(doc, kind, media.Schema, "")...)
		}
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			a.Fields = append(a.Fields, docField{name, "header", typeName(r.Headers[name].Schema), r.Headers[name].Schema.Description})
		}
		d.Answers = append(d.Answers, a)
	}
	return d
}

// fieldsOf lists the members of an object, those of objects in it too, or the
// one value that a body is.
func fieldsOf(doc *huma.OpenAPI, kind string, s *huma.Schema, prefix string) []docField {
	if s == nil {
		return []docField{{"", kind, "text", ""}}
	}
	full := resolve(doc, s)
	if len(full.Properties) == 0 {
		return []docField{{prefix, kind, typeName(s), s.Description}}
	}
	var list []docField
	for _, name := range slices.Sorted(maps.Keys(full.Properties)) {
		member := full.Properties[name]
		list = append(list, docField{prefix + name, kind, typeName(member) + optional(full, name), member.Description})
		if inner, mark := within(doc, member); inner != nil && len(prefix) < 40 {
			list = append(list, fieldsOf(doc, kind, inner, prefix+name+mark)...)
		}
	}
	return list
}

// within finds the object that a member is or holds.
func within(doc *huma.OpenAPI, s *huma.Schema) (inner *huma.Schema, mark string) {
	mark = "."
	if s.Items != nil {
		s, mark = s.Items, "[]."
	} else if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		s, mark = more, ".*."
	}
	if len(resolve(doc, s).Properties) == 0 {
		return nil, ""
	}
	return s, mark
}

func resolve(doc *huma.OpenAPI, s *huma.Schema) *huma.Schema {
	for s.Ref != "" {
		s = doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

func optional(s *huma.Schema, name string) string {
	if slices.Contains(s.Required, name) {
		return ""
	}
	return ", optional"
}

func typeName(s *huma.Schema) string {
	switch {
	case s.Ref != "":
		return path.Base(s.Ref)
	case s.Items != nil:
		return "list of " + typeName(s.Items)
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = fmt.Sprint(v)
		}
		return strings.Join(words, " | ")
	case s.Type == huma.TypeString && s.Format != "":
		return s.Type + " (" + s.Format + ")"
	}
	return cmp.Or(s.Type, "any")
}
