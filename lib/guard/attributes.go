package guard

import (
	"encoding/binary"

	"pgpipes/lib/sftpmsg"
)

// attrPermissions is the flag of attributes that are nothing but permissions.
const attrPermissions = 0x04

// plain reads attributes and reports whether they say nothing, or nothing but
// who may read, write and execute.
func plain(f *sftpmsg.Fields) bool {
	switch f.Number() {
	case 0:
		return true
	case attrPermissions:
		return f.Number()&^0o777 == 0
	}
	return false
}

// initiation begins a conversation in version 3, whatever the client can do: no
// other is known here.
func initiation() sftpmsg.Message {
	return binary.BigEndian.AppendUint32(sftpmsg.Message{sftpmsg.Init}, 3)
}
