package cli

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine/bill"
)

// Object is what commands print with --json: a struct whose fields have "json"
// tags and, as far as their names do not say it, "doc" tags.
type Object struct {
	By    string // the commands
	Shape any
}

// objects are what the commands of a service print.
var objects = []Object{
	{"pi list, pi show", pisJSON{}},
	{"pi on, off, cycle, reimage, ... and job cancel", actJSON{}},
	{"switch list, switch show", switchesJSON{}},
	{"job list, job show, job wait", jobsJSON{}},
	{"boot list, boot show", bootsJSON{}},
	{"image list, image show", imagesJSON{}},
	{"server list, server show", serversJSON{}},
	{"order, server release, server keys", serverActJSON{}},
	{"account list, account show, account add, account close", accountsJSON{}},
	{"apikey list, apikey revoke", apiKeysJSON{}},
	{"apikey add", newAPIKeyJSON{}},
	{"webhook list, webhook remove", webhooksJSON{}},
	{"webhook add", newWebhookJSON{}},
	{"webhook log", deliveriesJSON{}},
	{"bill", bill.StatementJSON{}},
	{"space", spaceJSON{}},
	{"rack", rackJSON{}},
	{"operator list, operator show", operatorsJSON{}},
	{"audit", auditJSON{}},
	{"log", logJSON{}},
	{"watch: one object a line", eventJSON{}},
	{"version", versionJSON{}},
}

// jsonTopic is the help about --json, made from the types that are printed.
func jsonTopic() *cobra.Command {
	return &cobra.Command{Use: jsonTopicName, Short: "what --json prints", Long: schema(), Args: cobra.ArbitraryArgs}
}

const jsonTopicName = "json"

// Describe adds to the help about --json what a program's own commands print.
func Describe(root *cobra.Command, more []Object) {
	for _, c := range root.Commands() {
		if c.Name() == jsonTopicName {
			c.Long = schemaOf(append(slices.Clone(objects), more...))
		}
	}
}

// schema is the text of the topic; it is the same every time.
var schema = sync.OnceValue(func() string { return schemaOf(objects) })

func schemaOf(objects []Object) string {
	var b strings.Builder
	b.WriteString(`With --json a command prints one object, and watch one object a line.

"version" is 1. It grows when a field goes or changes its meaning; new fields
may come at any time, so pass over those you do not know. Every field is always
there, and null when there is nothing to tell. Times are RFC 3339 in UTC.
Units are in the names. Errors are text on standard error, never JSON.
`)
	known := map[reflect.Type]bool{}
	var later []reflect.Type
	for _, o := range objects {
		fmt.Fprintf(&b, "\n%s\n", o.By)
		later = fields(&b, reflect.TypeOf(o.Shape), later)
		for len(later) > 0 {
			t := later[0]
			later = later[1:]
			if known[t] {
				continue
			}
			known[t] = true
			fmt.Fprintf(&b, "\n  %s:\n", typeName(t))
			later = fields(&b, t, later)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// fields lists the fields of a type; the types it is made of are added to later.
func fields(b *strings.Builder, t reflect.Type, later []reflect.Type) []reflect.Type {
	for i := range t.NumField() {
		f := t.Field(i)
		of, nullable := f.Type, ""
		if of.Kind() == reflect.Pointer {
			of, nullable = of.Elem(), " or null"
		}
		name := typeName(of)
		if of.Kind() == reflect.Slice {
			of = of.Elem()
			name = "list of " + typeName(of)
		}
		if of == reflect.TypeFor[stamp]() {
			nullable = " or null"
		}
		line := fmt.Sprintf("  %-22s %-24s %s", f.Tag.Get("json"), name+nullable, f.Tag.Get("doc"))
		fmt.Fprintln(b, strings.TrimRight(line, " "))
		if of.Kind() == reflect.Struct && typeName(of) != "time" {
			later = append(later, of)
		}
	}
	return later
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[stamp](), t == reflect.TypeFor[time.Time]():
		return "time"
	case t.PkgPath() == reflect.TypeFor[bill.StatementJSON]().PkgPath():
		return "bill" + strings.TrimSuffix(t.Name(), "JSON")
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return "text"
	case t.Kind() == reflect.Struct:
		return strings.TrimSuffix(t.Name(), "JSON")
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64:
		return "number"
	}
	return "integer"
}
