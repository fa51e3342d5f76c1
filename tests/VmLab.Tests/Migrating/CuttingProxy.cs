using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace VmLab.Tests.Migrating;

/// <summary>Lies between two hosts, and cuts their first connection behind a message of one direction.</summary>
sealed class CuttingProxy : IDisposable
{
    const int GreetingSize = 13 + 32, LengthSize = 4, TagSize = 16;

    readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    readonly DnsEndPoint _target;
    readonly bool _cutsThere;
    readonly int _cutAfter, _bytesPerMillisecond;
    int _connections;

    /// <param name="cutsThere">Whether messages to the target are counted, or those from it.</param>
    /// <param name="cutAfter">How many go through.</param>
    /// <param name="bytesPerMillisecond">How fast messages go to the target, at most.</param>
    public CuttingProxy(DnsEndPoint target, bool cutsThere, int cutAfter, int bytesPerMillisecond = int.MaxValue)
    {
        (_target, _cutsThere, _cutAfter, _bytesPerMillisecond) = (target, cutsThere, cutAfter, bytesPerMillisecond);
        _listener.Start();
        Address = new DnsEndPoint("127.0.0.1", ((IPEndPoint)_listener.LocalEndpoint).Port);
        new Thread(Listen) { IsBackground = true }.Start();
    }

    public DnsEndPoint Address { get; }

    /// <summary>Whether it has cut.</summary>
    public bool HasCut { get; private set; }

    public void Dispose() => _listener.Dispose();

    void Listen()
    {
        try
        {
            while (true)
            {
                Socket caller = _listener.AcceptSocket(), called = new(SocketType.Stream, ProtocolType.Tcp);
                caller.NoDelay = called.NoDelay = true;
                called.Connect(_target);
                bool isFirst = _connections++ == 0;
                new Thread(() => Pass(caller, called, isFirst && _cutsThere, _bytesPerMillisecond)) { IsBackground = true }.Start();
                new Thread(() => Pass(called, caller, isFirst && !_cutsThere, int.MaxValue)) { IsBackground = true }.Start();
            }
        }
        catch (Exception end) when (end is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The test is over.
        }
    }

    void Pass(Socket from, Socket to, bool cuts, int bytesPerMillisecond)
    {
        try
        {
            PassBytes(from, to, GreetingSize);
            for (int passed = 0; !cuts || passed < _cutAfter; passed++)
            {
                byte[] length = PassBytes(from, to, LengthSize);
                byte[] rest = PassBytes(from, to, BinaryPrimitives.ReadInt32LittleEndian(length) + TagSize);
                Thread.Sleep(rest.Length / bytesPerMillisecond);
            }
            HasCut = true;
            from.Dispose();
            to.Dispose();
        }
        catch (EndOfStreamException)
        {
            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception end) when (end is SocketException or ObjectDisposedException)
        {
            // One of the two is gone.
        }
    }

    static byte[] PassBytes(Socket from, Socket to, int count)
    {
        byte[] bytes = new byte[count];
        for (int read = 0; read < count;)
        {
            int some = from.Receive(bytes, read, count - read, SocketFlags.None);
            if (some == 0) throw new EndOfStreamException();
            read += some;
        }
        to.Send(bytes);
        return bytes;
    }
}
