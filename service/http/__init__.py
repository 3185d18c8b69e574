"""What HTTP needs beside routes: uploads, problems, streams, limits on clients."""
