package main

import (
	"bufio"
	"encoding/json"
	"strings"
)

// none stands in a column for what is unknown or does not apply.
const none = "-"

// A column of a table is a number, or a text.
type column struct {
	name   string
	number bool
}

// A table prints rows: columns with tabs between them, or one JSON object a line.
type table struct {
	out     *bufio.Writer
	columns []column
	json    bool
}

// print takes a value for each column. An unknown number is null in JSON.
func (t table) print(values ...string) error {
	line := strings.Join(values, "\t")
	if t.json {
		line = t.object(values)
	}
	_, err := t.out.WriteString(line + "\n")
	return err
}

func (t table) object(values []string) string {
	fields := make([]string, len(values))
	for i, c := range t.columns {
		value := values[i]
		switch {
		case !c.number:
			text, _ := json.Marshal(value) // a string never fails
			value = string(text)
		case value == none:
			value = "null"
		}
		fields[i] = `"` + c.name + `":` + value
	}
	return "{" + strings.Join(fields, ",") + "}"
}
