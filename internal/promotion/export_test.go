package promotion

import "time"

// SetLag sets how long a service waits before it looks again for a commit of its own.
func (s *Service) SetLag(lag time.Duration) { s.lag = lag }
