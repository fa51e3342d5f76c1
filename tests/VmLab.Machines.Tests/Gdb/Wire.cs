using System.Text;

namespace VmLab.Machines.Tests.Gdb;

/// <summary>A connection of which one end is written beforehand, and the other kept.</summary>
sealed class Wire(params byte[] received) : Stream
{
    readonly MemoryStream _received = new(received), _sent = new();

    public string Sent => Encoding.Latin1.GetString(_sent.ToArray());

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>A connection on which packets have come, each with its checksum.</summary>
    public static Wire With(params string[] packets) =>
        new(Encoding.Latin1.GetBytes(string.Concat(packets.Select(GdbClient.Framed))));

    public override int Read(byte[] buffer, int offset, int count) => _received.Read(buffer, offset, count);
    public override void Write(byte[] buffer, int offset, int count) => _sent.Write(buffer, offset, count);
    public override void Flush() { }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        _received.Dispose();
        _sent.Dispose();
        base.Dispose(disposing);
    }
}
