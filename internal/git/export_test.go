package git

// LimitStores sets how large an object store may become, in bytes, before it starts anew.
func (t *Trees) LimitStores(bytes int64) { t.largest = bytes }
