package tree
import ("testing";"os")
func TestDump(t *testing.T){ d:=os.Getenv("DUMP"); if d==""{t.Skip()}; os.RemoveAll(d); if err:=os.CopyFS(d,Make(1));err!=nil{t.Fatal(err)}}
