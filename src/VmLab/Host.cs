using System.Globalization;
using System.Net;

namespace VmLab;

/// <summary>A host that is another process: <c>vmlab host</c>, to which machines are migrated for real.</summary>
/// <param name="Address">Where it listens.</param>
/// <param name="Key">What it shares with those who may send it machines: at least 16 bytes.</param>
public sealed record Host(DnsEndPoint Address, ReadOnlyMemory<byte> Key)
{
    /// <summary>The shortest key, in bytes.</summary>
    public const int LeastKey = 16;

    const int LongestKey = 4096;

    /// <param name="address">As <c>vmlab host</c> prints it: tcp://127.0.0.1:9000.</param>
    /// <param name="keyFile">Path of the file whose bytes both sides have.</param>
    /// <exception cref="LabException">The address is none, or the file is no key.</exception>
    public static Host At(string address, string keyFile) => new(ParseAddress(address), ReadKey(keyFile));

    /// <summary>Reads HOST:PORT, with tcp:// before it or without.</summary>
    /// <exception cref="LabException">It is neither.</exception>
    public static DnsEndPoint ParseAddress(string address)
    {
        const string Scheme = "tcp://";
        string text = address.StartsWith(Scheme, StringComparison.Ordinal) ? address[Scheme.Length..] : address;
        int colon = text.LastIndexOf(':');
        return colon > 0 && ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port)
            ? new DnsEndPoint(text[..colon].Trim('[', ']'), port)
            : throw new LabException($"\"{address}\" is no address of a host: write it as tcp://127.0.0.1:9000.");
    }

    /// <exception cref="LabException">There is no such file, or it is too short or too long.</exception>
    public static byte[] ReadKey(string path)
    {
        try
        {
            byte[] key = File.ReadAllBytes(path);
            return key.Length is >= LeastKey and <= LongestKey ? key : throw new LabException(
                $"The key {path} has {key.Length} bytes: give it {LeastKey} to {LongestKey}, as by `head -c 32 /dev/urandom > {path}`.");
        }
        catch (Exception cause) when (cause is IOException or UnauthorizedAccessException)
        {
            throw new LabException(
                $"The key {path} cannot be read: {cause.Message} Make one by `head -c 32 /dev/urandom > {path}`, and give it to both sides.", cause);
        }
    }

    public override string ToString() => $"tcp://{Address.Host}:{Address.Port}";
}
