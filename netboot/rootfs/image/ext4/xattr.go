package ext4

import (
	"encoding/binary"
	"fmt"
)

const (
	// MaxXattrs is the most bytes of attributes that one file may have.
	MaxXattrs = 1 << 20
	// maxXattrValue is the kernel's XATTR_SIZE_MAX.
	maxXattrValue = 64 << 10

	xattrMagic = 0xEA020000
)

// Name indexes (attributes.rst, "Attribute Name Indices").
const (
	xattrSystem     = 7
	xattrACLAccess  = 2
	xattrACLDefault = 3
)

var xattrPrefix = map[byte]string{
	1:               "user.",
	xattrACLAccess:  "system.posix_acl_access",
	xattrACLDefault: "system.posix_acl_default",
	4:               "trusted.",
	6:               "security.",
	xattrSystem:     "system.",
	8:               "system.richacl",
}

// Xattr is an extended attribute as setxattr(2) takes it.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs returns the extended attributes of a file: file capabilities as
// security.capability, access control lists as system.posix_acl_*. Errors:
// [ErrCorrupt], or the reader's.
func (f *FS) Xattrs(file *File) ([]Xattr, error) {
	raw, err := f.rawXattrs(file)
	if err != nil {
		return nil, fmt.Errorf("ext4: inode %d: attributes: %w", file.Inode, err)
	}
	var list []Xattr
	for _, x := range raw {
		prefix, ok := xattrPrefix[x.index]
		switch {
		case !ok:
			return nil, fmt.Errorf("ext4: inode %d: %w: attributes of kind %d", file.Inode, ErrUnsupported, x.index)
		case x.index == xattrSystem && x.name == "data":
			continue // inline data
		case x.index == xattrACLAccess || x.index == xattrACLDefault:
			if x.value, err = aclValue(x.value); err != nil {
				return nil, fmt.Errorf("ext4: inode %d: %w", file.Inode, err)
			}
		}
		list = append(list, Xattr{Name: prefix + x.name, Value: x.value})
	}
	return list, nil
}

type rawXattr struct {
	index byte
	name  string
	value []byte
}

// rawXattrs reads the attributes inside the inode and those in its block.
func (f *FS) rawXattrs(file *File) ([]rawXattr, error) {
	list, err := f.inodeXattrs(file)
	if err != nil {
		return nil, err
	}
	at := uint64(le32(file.raw, 0x68))
	if f.incompat&incompat64Bit != 0 {
		at |= uint64(le16(file.raw, 0x76)) << 32
	}
	if at == 0 {
		return list, nil
	}
	b, err := f.block(at) // which files may share
	if err != nil {
		return nil, err
	}
	if le32(b, 0) != xattrMagic || le32(b, 8) != 1 {
		return nil, fmt.Errorf("%w: attribute block %d", ErrCorrupt, at)
	}
	more, err := f.parseXattrs(b, 32, b)
	return append(list, more...), err
}

func (f *FS) inodeXattrs(file *File) ([]rawXattr, error) {
	if f.inodeSize <= 128 {
		return nil, nil
	}
	head := 128 + int(le16(file.raw, 0x80))
	if head+4 > len(file.raw) || le32(file.raw, head) != xattrMagic {
		return nil, nil
	}
	body := file.raw[head+4:]
	return f.parseXattrs(body, 0, body)
}

// parseXattrs reads entries from b[at:]; their values' offsets are within
// values.
func (f *FS) parseXattrs(b []byte, at int, values []byte) ([]rawXattr, error) {
	var list []rawXattr
	total := 0
	for {
		if at+4 <= len(b) && le32(b, at) == 0 || at == len(b) {
			return list, nil
		}
		if at+16 > len(b) || at+16+int(b[at]) > len(b) {
			return nil, fmt.Errorf("%w: an attribute's entry", ErrCorrupt)
		}
		offset, inum, size := int(le16(b, at+2)), le32(b, at+4), le32(b, at+8)
		if total += int(b[at]) + int(min(size, maxXattrValue)); size > maxXattrValue || total > MaxXattrs {
			return nil, fmt.Errorf("%w: an attribute's size", ErrCorrupt)
		}
		x := rawXattr{index: b[at+1], name: string(b[at+16 : at+16+int(b[at])])}
		switch {
		case inum != 0:
			v, err := f.xattrInode(Inode(inum), int64(size))
			if err != nil {
				return nil, err
			}
			x.value = v
		case offset > len(values) || int(size) > len(values)-offset:
			return nil, fmt.Errorf("%w: an attribute's value", ErrCorrupt)
		default:
			x.value = append([]byte{}, values[offset:offset+int(size)]...)
		}
		list = append(list, x)
		at += (16 + int(b[at]) + 3) &^ 3
	}
}

// xattrInode reads a value that has an inode of its own.
func (f *FS) xattrInode(n Inode, size int64) ([]byte, error) {
	file, err := f.file(n)
	if err != nil {
		return nil, err
	}
	if f.incompat&incompatEAInode == 0 || file.flags&flagEAInode == 0 || file.flags&flagInlineData != 0 || file.Size != size {
		return nil, fmt.Errorf("%w: an attribute's value in inode %d", ErrCorrupt, n)
	}
	return f.small(file, maxXattrValue)
}

// inlineData returns the content of a file inside its inode: i_block, and what
// does not fit it in the attribute system.data (ifork.rst, "Inline Data").
func (f *FS) inlineData(file *File) ([]byte, error) {
	if f.incompat&incompatInlineData == 0 {
		return nil, fmt.Errorf("%w: inline data without the feature", ErrCorrupt)
	}
	b := append([]byte{}, file.raw[0x28:0x28+60]...)
	list, err := f.inodeXattrs(file)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		if x.index == xattrSystem && x.name == "data" {
			b = append(b, x.value...)
		}
	}
	if file.Size > int64(len(b)) {
		return nil, fmt.Errorf("%w: inline data of %d bytes", ErrCorrupt, file.Size)
	}
	return b[:file.Size], nil
}

// aclValue turns an access control list as it is on the disk (version 1, short
// entries) into what setxattr takes (version 2; linux/posix_acl_xattr.h).
func aclValue(disk []byte) ([]byte, error) {
	if len(disk) < 4 || le32(disk, 0) != 1 {
		return nil, fmt.Errorf("%w: version of an access control list", ErrCorrupt)
	}
	out := []byte{2, 0, 0, 0}
	for b := disk[4:]; len(b) > 0; {
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: access control list", ErrCorrupt)
		}
		out = append(out, b[:4]...)
		tag := le16(b, 0)
		b = b[4:]
		id := ^uint32(0)
		if tag == 0x2 || tag == 0x8 { // a user, a group
			if len(b) < 4 {
				return nil, fmt.Errorf("%w: access control list", ErrCorrupt)
			}
			id, b = le32(b, 0), b[4:]
		}
		out = binary.LittleEndian.AppendUint32(out, id)
	}
	return out, nil
}
