// Runs the recipe, and tells what it saw, a line a fact.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

func tell(name string, value interface{}) { fmt.Printf("%s\t%v\n", name, value) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func got(value string, err error) string {
	must(err)
	return value
}

// How a sealed value came.
func kind(value interface{}) string {
	switch v := value.(type) {
	case string:
		if strings.HasPrefix(v, `\xf7e1`) {
			return "text"
		}
	case []byte:
		if bytes.HasPrefix(v, []byte{0xf7, 0xe1}) {
			return "bytes"
		}
		return "other bytes"
	}
	return fmt.Sprintf("%T", value)
}

// What became of a value on its way in.
func fate(refused error, opened, given string) string {
	if refused != nil {
		return "refused"
	}
	if opened == given {
		return "kept"
	}
	return "changed"
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func sqlstate(err error) string {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return told.Code
	}
	return fmt.Sprint(err)
}

func main() {
	awkward, changed, notation := os.Getenv("AWKWARD"), os.Getenv("CHANGED"), os.Getenv("NOTATION")
	ctx := context.Background()
	c, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	must(err)
	defer c.Close(ctx)
	values := func(sql string) []interface{} {
		rows, err := c.Query(ctx, sql)
		must(err)
		defer rows.Close()
		rows.Next()
		values, err := rows.Values()
		must(err)
		return values
	}

	// Debian's package says which it is.
	status, err := os.ReadFile("/var/lib/dpkg/status")
	must(err)
	version := regexp.MustCompile(`(?s)Package: golang-github-jackc-pgx-v4-dev\n.*?\nVersion: ([0-9.]+)`)
	tell("version", version.FindStringSubmatch(string(status))[1])
	must(add(ctx, c, 1, awkward))
	tell("added", got(read(ctx, c, 1)))
	must(change(ctx, c, 1, changed))
	tell("changed", got(read(ctx, c, 1)))
	must(addNote(ctx, c, 1, awkward))
	tell("note added", got(readNote(ctx, c, 1)))
	must(changeNote(ctx, c, 1, changed))
	tell("note changed", got(readNote(ctx, c, 1)))

	tell("ssn", kind(values("SELECT ssn FROM customers")[0]))
	var into []byte
	must(c.QueryRow(ctx, "SELECT ssn FROM customers").Scan(&into))
	tell("ssn into []byte", kind(into))
	must(c.QueryRow(ctx, "SELECT ssn::bytea FROM customers").Scan(&into))
	tell("ssn as bytea into []byte", kind(into))
	tell("note", kind(values("SELECT note FROM patients")[0]))
	_, err = c.Exec(ctx, "INSERT INTO customers VALUES (3, $1)", []byte(awkward))
	tell("bytes for ssn", fate(err, got(read(ctx, c, 3)), awkward))
	_, err = c.Exec(ctx, "UPDATE customers SET ssn = $1::bytea WHERE id = 3", []byte(awkward))
	tell("bytes for ssn by ::bytea", fate(err, got(read(ctx, c, 3)), awkward))
	_, err = c.Exec(ctx, "INSERT INTO patients VALUES (2, $1)", notation)
	tell("a string for note", fate(err, got(readNote(ctx, c, 2)), notation))
	_, err = c.Exec(ctx, "SELECT envelope_decrypt_text($1, note) FROM patients", "patients")
	tell("table", either(err == nil, "taken", "refused"))
	_, err = c.Exec(ctx, "SELECT FROM customers WHERE ssn = $1", changed)
	tell("ssn =", sqlstate(err))
	done, err := c.Exec(ctx, "SELECT FROM patients WHERE note = $1", []byte(changed))
	must(err)
	tell("note =", done.RowsAffected())
	told := fmt.Sprintf("%+v", add(ctx, c, 1, os.Getenv("SECRET")))
	tell("value in errors", either(strings.Contains(told, os.Getenv("SECRET")), "shown", "not shown"))
}
