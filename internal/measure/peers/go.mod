// What `make measure` holds ferry against, apart from the product's modules.
module github.com/ferry-chatops/ferry/internal/measure/peers

go 1.26.8

require (
	github.com/google/go-github/v60 v60.0.0
	github.com/gregjones/httpcache v0.0.0-20190611155906-901d90724c79
)

require github.com/google/go-querystring v1.1.0 // indirect
