package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// HashAll reads to the end, through a buffer, and gives the SHA-256 and the number
// of the bytes.
func HashAll(ctx context.Context, in io.Reader, buffer []byte) (sum string, size int64, err error) {
	h := sha256.New()
	for ctx.Err() == nil {
		n, err := in.Read(buffer)
		h.Write(buffer[:n])
		size += int64(n)
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), size, nil
		}
		if err != nil {
			return "", size, err
		}
	}
	return "", size, ctx.Err()
}
