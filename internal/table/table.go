// Package table applies overrides to the function tables of the recipes.
package table

import (
	"fmt"
	"reflect"
)

// Override gives the override the original by value and a pointer to the table that it may change, and returns that table.
func Override[T any](original T, override func(original T, table *T)) T {
	changed := original
	if override != nil {
		override(original, &changed)
	}
	return changed
}

// Missing returns an error for each nil field of a table of functions. field is the path of the override in the configuration.
func Missing(table any, field string) []error {
	var errs []error
	v := reflect.ValueOf(table)
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			errs = append(errs, fmt.Errorf("%s left the function %s nil", field, v.Type().Field(i).Name))
		}
	}
	return errs
}
