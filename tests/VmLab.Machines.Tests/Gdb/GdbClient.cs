using System.Net;
using System.Net.Sockets;
using System.Text;

namespace VmLab.Machines.Tests.Gdb;

/// <summary>The least of a gdb: sends packets to a server and reads its answers.</summary>
sealed class GdbClient : IDisposable
{
    readonly TcpClient _client = new() { ReceiveTimeout = 60_000 };
    readonly NetworkStream _stream;

    public GdbClient(int port)
    {
        _client.Connect(IPAddress.Loopback, port);
        _stream = _client.GetStream();
        Ask("QStartNoAckMode");
    }

    public static string Framed(string packet) => $"${packet}#{(byte)packet.Sum(character => character):x2}";

    public string Ask(string packet)
    {
        Send(packet);
        return Read();
    }

    public void Send(string packet) => _stream.Write(Encoding.Latin1.GetBytes(Framed(packet)));

    /// <returns>Whether the server still listens: it hangs up on whom it does not understand.</returns>
    public bool TrySend(string packet)
    {
        try
        {
            Send(packet);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Sends a packet and the wish for a stop in one piece, so that the machine cannot run to its end in between.</summary>
    public void SendAndInterrupt(string packet) => _stream.Write([.. Encoding.Latin1.GetBytes(Framed(packet)), 3]);

    /// <returns>The next packet; empty when the server is gone.</returns>
    public string Read()
    {
        var text = new StringBuilder();
        int value;
        do value = ReadByte();
        while (value is not ('$' or -1));
        while ((value = ReadByte()) is not ('#' or -1)) text.Append((char)value);
        ReadByte();
        ReadByte();
        return text.ToString();
    }

    int ReadByte()
    {
        try
        {
            return _stream.ReadByte();
        }
        catch (IOException)
        {
            return -1;
        }
    }

    public void Dispose() => _client.Dispose();
}
