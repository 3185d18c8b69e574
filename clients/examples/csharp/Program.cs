// Add references and inspect a part from C#, without packages: CATEGORY GOOD_FOLDER PART.png
// .NET 8 or newer: dotnet run --project csharp -- CATEGORY GOOD_FOLDER PART.png
// Mono: mcs -r:System.Net.Http.dll -r:System.Runtime.Serialization.dll csharp/Program.cs
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Threading;

[DataContract]
class Detection
{
    [DataMember(Name = "verdict")] public string Verdict { get; set; }
    [DataMember(Name = "score")] public double Score { get; set; }
    [DataMember(Name = "threshold")] public double? Threshold { get; set; }
}

[DataContract]
class DetectResponse
{
    [DataMember(Name = "results")] public List<Detection> Results { get; set; }
}

[DataContract]
class ReferencesResponse
{
    [DataMember(Name = "added")] public int Added { get; set; }
    [DataMember(Name = "duplicates")] public int Duplicates { get; set; }
}

[DataContract]
class Problem // application/problem+json
{
    [DataMember(Name = "detail")] public string Detail { get; set; }
}

static class Program
{
    static readonly Uri Service = new Uri(Environment.GetEnvironmentVariable("TOUCHSTONE_URL") ?? "http://127.0.0.1:8000");
    static readonly HttpClient Http = new HttpClient(new HttpClientHandler { UseProxy = !Service.IsLoopback })
    {
        BaseAddress = Service,
        Timeout = TimeSpan.FromSeconds(60),
    };
    static readonly string[] ImageSuffixes =
        { ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".tif", ".tiff", ".webp" };

    static int Main(string[] arguments)
    {
        string category = arguments[0], good = arguments[1], part = arguments[2];
        var key = Environment.GetEnvironmentVariable("TOUCHSTONE_KEY");
        if (!string.IsNullOrEmpty(key))
            Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        try
        {
            var files = Directory.GetFiles(good)
                .Where(path => ImageSuffixes.Contains(Path.GetExtension(path).ToLowerInvariant()))
                .OrderBy(path => path, StringComparer.Ordinal).ToArray();
            var onboarded = Post<ReferencesResponse>("/references", category, files, null);
            Console.WriteLine("{0} references added, {1} duplicates", onboarded.Added, onboarded.Duplicates);
            // The key makes retries safe: the request is inspected and recorded once.
            var response = Post<DetectResponse>("/detect", category, new[] { part }, Guid.NewGuid().ToString("N"));
            var detection = response.Results[0];
            Console.WriteLine("{0}: score {1:F4}, threshold {2}", detection.Verdict, detection.Score, detection.Threshold);
            return detection.Verdict == "normal" ? 0 : 1;
        }
        catch (Exception error) when (error is HttpRequestException || error is IOException)
        {
            Console.Error.WriteLine("Detect: " + error.Message);
            return 2;
        }
    }

    // The service's error message; a proxy returns something else.
    static string Detail(HttpResponseMessage response, Stream body)
    {
        var type = response.Content.Headers.ContentType;
        if (type == null || type.MediaType != "application/problem+json")
            return Service + " returned " + (int)response.StatusCode;
        return ((Problem)new DataContractJsonSerializer(typeof(Problem)).ReadObject(body)).Detail;
    }

    // Transient failures are retried, no sooner than Retry-After; a Retry-After of more than a minute and other failures
    // are thrown.
    static T Post<T>(string path, string category, IEnumerable<string> files, string key)
    {
        for (var attempt = 1; ; attempt++)
        {
            var wait = TimeSpan.FromMilliseconds(250 * Math.Pow(2, attempt));
            using (var form = new MultipartFormDataContent())
            using (var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = form })
            {
                form.Add(new StringContent(category), "\"category\"");
                foreach (var file in files)
                    form.Add(new ByteArrayContent(File.ReadAllBytes(file)), "\"images\"", "\"" + Path.GetFileName(file) + "\"");
                if (key != null)
                    request.Headers.Add("Idempotency-Key", key);
                HttpResponseMessage response;
                try
                {
                    response = Http.SendAsync(request).GetAwaiter().GetResult();
                }
                catch (HttpRequestException) when (attempt < 5)
                {
                    Thread.Sleep(wait);
                    continue;
                }
                using (response)
                using (var body = response.Content.ReadAsStreamAsync().GetAwaiter().GetResult())
                {
                    if (response.IsSuccessStatusCode)
                        return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(body);
                    var status = (int)response.StatusCode;
                    var retryAfter = response.Headers.RetryAfter == null ? null : response.Headers.RetryAfter.Delta;
                    var transient = status == 429 || status == 503 || status == 504;
                    if (!transient || attempt == 5 || retryAfter > TimeSpan.FromMinutes(1))
                        throw new HttpRequestException(Detail(response, body));
                    Thread.Sleep(retryAfter > wait ? retryAfter.Value : wait);
                }
            }
        }
    }
}
