// Teach a product and inspect a part from C#, without packages: CATEGORY GOOD_FOLDER PART.png
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
class Detected
{
    [DataMember(Name = "verdict")] public string Verdict { get; set; }
    [DataMember(Name = "score")] public double Score { get; set; }
    [DataMember(Name = "threshold")] public double? Threshold { get; set; }
}

[DataContract]
class DetectAnswer
{
    [DataMember(Name = "results")] public List<Detected> Results { get; set; }
}

[DataContract]
class ReferencesAnswer
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
            var onboarded = Post<ReferencesAnswer>("/references", category, files, null);
            Console.WriteLine("{0} references added, {1} were there already", onboarded.Added, onboarded.Duplicates);
            // The key makes a second try safe: the same request is inspected and recorded once.
            var answer = Post<DetectAnswer>("/detect", category, new[] { part }, Guid.NewGuid().ToString("N"));
            var found = answer.Results[0];
            Console.WriteLine("{0}: score {1:F4}, threshold {2}", found.Verdict, found.Score, found.Threshold);
            return found.Verdict == "normal" ? 0 : 1;
        }
        catch (Exception error) when (error is HttpRequestException || error is IOException)
        {
            Console.Error.WriteLine("Detect: " + error.Message);
            return 2;
        }
    }

    // What the service says; something else answers when it is a proxy.
    static string Detail(HttpResponseMessage answer, Stream body)
    {
        var type = answer.Content.Headers.ContentType;
        if (type == null || type.MediaType != "application/problem+json")
            return Service + " answered " + (int)answer.StatusCode;
        return ((Problem)new DataContractJsonSerializer(typeof(Problem)).ReadObject(body)).Detail;
    }

    // Passing failures are tried again, no sooner than the service asks; a wait of more than a minute is not begun, and
    // anything else is thrown.
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
                HttpResponseMessage answer;
                try
                {
                    answer = Http.SendAsync(request).GetAwaiter().GetResult();
                }
                catch (HttpRequestException) when (attempt < 5)
                {
                    Thread.Sleep(wait);
                    continue;
                }
                using (answer)
                using (var body = answer.Content.ReadAsStreamAsync().GetAwaiter().GetResult())
                {
                    if (answer.IsSuccessStatusCode)
                        return (T)new DataContractJsonSerializer(typeof(T)).ReadObject(body);
                    var status = (int)answer.StatusCode;
                    var asked = answer.Headers.RetryAfter == null ? null : answer.Headers.RetryAfter.Delta;
                    var passing = status == 429 || status == 503 || status == 504;
                    if (!passing || attempt == 5 || asked > TimeSpan.FromMinutes(1))
                        throw new HttpRequestException(Detail(answer, body));
                    Thread.Sleep(asked > wait ? asked.Value : wait);
                }
            }
        }
    }
}
