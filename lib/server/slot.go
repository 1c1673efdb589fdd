package server

import "context"

// ReserveWAL has the server keep its WAL, from its last checkpoint on, until the
// session ends: by a temporary replication slot
// (slotfuncs.c:pg_create_physical_replication_slot). The role must be a
// superuser or be allowed replication.
func (s *Session) ReserveWAL(ctx context.Context) error {
	_, err := s.ask(ctx, "pg_create_physical_replication_slot",
		`SELECT slot_name FROM pg_catalog.pg_create_physical_replication_slot(
			pg_catalog.concat('pgpipes_', pg_catalog.pg_backend_pid())::pg_catalog.name, true, true)`)
	return err
}
