-- wrk's script for webhook_path: sends the requests of a file in their order, each once, and ends with one line of JSON.
-- The file is, again and again, a request's length in bytes on a line, then the request.
local requests, sent = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for size in file:lines() do
    requests[#requests + 1] = file:read(tonumber(size))
  end
end

function request()
  sent = sent + 1
  -- Past the end it repeats itself, and the bench, which counts, takes the run for void.
  return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
  local failed = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
