package config

// table is one [table] or [[table]] of the file.
type table struct {
	path string // "" = the keys before the first table
	doc  string
	many bool // [[path]]
	// fields in the order that they are printed.
	fields []field
	// owners calls yield for every element that c has of it: i is its number,
	// or its parent's if it is nested, and j its own.
	owners func(c *Config, yield func(i, j int, owner any))
	// add appends an element with its defaults; ok is false if it is nested
	// and has no parent yet. Only for many.
	add func(c *Config) (i, j int, owner any, ok bool)
	// fresh returns an element with its defaults, to compare and print.
	fresh func() any
	// title names an element in messages, such as `switch "sw1"`.
	title func(owner any) string
}

// field is one key of a table.
type field struct {
	key string
	doc string
	// ref returns a pointer to the value in the table's element.
	ref      func(owner any) any
	required bool
	example  string // TOML, for keys that have no default
	show     bool   // the template has the example as a setting, not as a comment
	secret   bool   // never shown in a message
	check    func(value any) *fault
}

// ref makes a field's accessor out of a typed one.
func ref[T any](get func(*T) any) func(any) any {
	return func(owner any) any { return get(owner.(*T)) }
}

// on makes a field's check out of a typed one.
func on[T any](check func(T) *fault) func(any) *fault {
	return func(value any) *fault { return check(*value.(*T)) }
}

// field finds a key of the table.
func (t *table) field(key string) *field {
	for i := range t.fields {
		if t.fields[i].key == key {
			return &t.fields[i]
		}
	}
	return nil
}

// keys lists the table's keys.
func (t *table) keys() []string {
	keys := make([]string, len(t.fields))
	for i, f := range t.fields {
		keys[i] = f.key
	}
	return keys
}

// header is the table's line in a file, "" for the top.
func (t *table) header() string {
	switch {
	case t.path == "":
		return ""
	case t.many:
		return "[[" + t.path + "]]"
	}
	return "[" + t.path + "]"
}

// name says which value a message is about: `dhcp.port`, or
// `segment "a3-001" port`.
func (t *table) name(owner any, key string) string {
	switch {
	case t.many:
		return t.title(owner) + " " + key
	case t.path == "":
		return key
	}
	return t.path + "." + key
}

// single describes a table that is there once.
func single[T any](path, doc string, get func(*Config) *T, fields ...field) table {
	return table{
		path: path, doc: doc, fields: fields,
		owners: func(c *Config, yield func(i, j int, owner any)) { yield(0, 0, get(c)) },
		fresh:  func() any { return get(Default()) },
	}
}

// many describes a table of which there is one per element of a slice.
func many[T any](path, doc string, get func(*Config) *[]T, fresh func() T, title func(*T) string, fields ...field) table {
	return table{
		path: path, doc: doc, many: true, fields: fields,
		owners: func(c *Config, yield func(i, j int, owner any)) {
			list := *get(c)
			for i := range list {
				yield(i, 0, &list[i])
			}
		},
		add: func(c *Config) (int, int, any, bool) {
			list := get(c)
			*list = append(*list, fresh())
			i := len(*list) - 1
			return i, 0, &(*list)[i], true
		},
		fresh: func() any { v := fresh(); return &v },
		title: func(owner any) string { return title(owner.(*T)) },
	}
}

// portTable describes [[switch.port]], which belongs to the [[switch]] above it.
func portTable(fields ...field) table {
	return table{
		path: "switch.port", doc: portDoc, many: true, fields: fields,
		owners: func(c *Config, yield func(i, j int, owner any)) {
			for i := range c.Switches {
				for j := range c.Switches[i].Overrides {
					yield(i, j, &c.Switches[i].Overrides[j])
				}
			}
		},
		add: func(c *Config) (int, int, any, bool) {
			i := len(c.Switches) - 1
			if i < 0 {
				return 0, 0, nil, false
			}
			list := &c.Switches[i].Overrides
			*list = append(*list, PortMap{})
			j := len(*list) - 1
			return i, j, &(*list)[j], true
		},
		fresh: func() any { return new(PortMap) },
		title: func(any) string { return "switch.port" },
	}
}
