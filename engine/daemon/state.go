package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// errOpenState means that others than its owner may enter the state folder.
var errOpenState = errors.New("others on this host may enter it, and so read customers' files and run their set-user-ID programs")

// othersEnter are the bits by which others enter a folder. An admin may let a
// group in, which only looks.
const othersEnter = 0o027

// closeState makes the state folder, or closes one that others may enter. What
// cannot be closed is an error. Whatever makes something there calls it first.
func closeState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if info.Mode()&othersEnter == 0 {
		return nil
	}
	if info.Mode()&fs.ModeSticky != 0 { // such as /tmp: others need it
		return fmt.Errorf("state folder %s: %w (set state to a folder of its own)", dir, errOpenState)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("state folder %s: %w: %w (chmod 700 %s)", dir, errOpenState, err, dir)
	}
	return nil
}
