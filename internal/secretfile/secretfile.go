// Package secretfile makes files that only their owner may read.
package secretfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Create makes a file of mode 0600 with this content. Of several processes that do so at once one succeeds, the others get [fs.ErrExist], and none
// sees half a file. A file that is there already is left alone.
func Create(path string, content []byte) error {
	return create(path, content, os.Link)
}

func create(path string, content []byte, link func(from, to string) error) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: cause(err)}
	}
	defer os.Remove(temp.Name())
	if err := fill(temp, content); err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: cause(err)}
	}
	err = link(temp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = createPlain(path, content) // a file system without links
	}
	if err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: cause(err)}
	}
	syncDir(dir)
	return nil
}

// createPlain is for file systems without links: one process succeeds, but another may see an empty file for a moment.
func createPlain(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return fill(f, content)
}

func fill(f *os.File, content []byte) error {
	_, err := f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the name of the file survive a power loss, where the system can: what it encrypts must not outlive a key.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// cause takes the name of the temporary file out of an error.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
