using System.Net.Sockets;
using System.Security.Cryptography;
using VmLab.Machines.Migrating;

namespace VmLab.Migrating;

/// <summary>A connection between two hosts: greetings both ways, then sealed messages.</summary>
/// <remarks>
/// Each side greets with bytes drawn for this connection; the keys of both directions follow from those and from the key that both
/// have. Who has another one fails at the first message. One thread sends and one receives.
/// </remarks>
sealed class HostConnection : IDisposable
{
    const int NonceSize = 32, BufferSize = 1 << 18;
    const int GreetingPatience = 10_000;   // milliseconds

    static ReadOnlySpan<byte> Magic => "VMLAB host 1\n"u8;

    readonly Socket _socket;
    readonly MigrationSeal _outgoing, _incoming;
    readonly bool _isCaller;
    volatile bool _isKnown;

    HostConnection(Socket socket, ReadOnlySpan<byte> key, bool isCaller)
    {
        (_socket, _isCaller) = (socket, isCaller);
        socket.NoDelay = true;
        socket.SendTimeout = socket.ReceiveTimeout = GreetingPatience;
        byte[] own = DrawBytes(NonceSize);
        socket.Send([.. Magic, .. own]);
        byte[] other = new byte[Magic.Length + NonceSize];
        for (int count = 0; count < other.Length;)
            count += socket.Receive(other, count, other.Length - count, SocketFlags.None) is > 0 and var some ? some : throw Gone();
        if (!other.AsSpan().StartsWith(Magic)) throw new LabException("There is no VmLab host, or one of another version.");
        ReadOnlySpan<byte> nonce = other.AsSpan(Magic.Length);
        byte[] greetings = isCaller ? [.. own, .. nonce] : [.. nonce, .. own];
        Session = Convert.ToHexString(SHA256.HashData(greetings));
        byte[] there = MigrationSeal.DeriveKey(key, greetings, "there"), back = MigrationSeal.DeriveKey(key, greetings, "back");
        (_outgoing, _incoming) = isCaller ? (new MigrationSeal(there), new MigrationSeal(back)) : (new MigrationSeal(back), new MigrationSeal(there));
        if (isCaller) socket.SendTimeout = socket.ReceiveTimeout = 0;
    }

    /// <summary>Names the connection, on both sides.</summary>
    public string Session { get; }

    /// <exception cref="LabException">There is no such host.</exception>
    public static HostConnection Connect(Host host)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Connect(host.Address);
            return new HostConnection(socket, host.Key.Span, isCaller: true);
        }
        catch (Exception failure) when (failure is SocketException or LabException)
        {
            socket.Dispose();
            throw new HostUnreachableException($"The host {host} cannot be reached: {failure.Message}", failure);
        }
    }

    /// <exception cref="LabException">It is no VmLab that calls.</exception>
    public static HostConnection Accept(Socket socket, ReadOnlySpan<byte> key)
    {
        try
        {
            return new HostConnection(socket, key, isCaller: false);
        }
        catch (SocketException failure)
        {
            throw new LabException($"A connection was lost before it began: {failure.Message}", failure);
        }
    }

    /// <summary>Bytes that nobody can guess: for keys, never for a guest.</summary>
#pragma warning disable RS0030 // Keys are the hosts' own: see the summary.
    public static byte[] DrawBytes(int count) => RandomNumberGenerator.GetBytes(count);
#pragma warning restore RS0030

    /// <exception cref="LabException">The connection is lost.</exception>
    public void Send(MigrationMessage message)
    {
        try
        {
            _socket.Send(_outgoing.Seal(message.Kind, message.Body.Span));
        }
        catch (Exception failure) when (failure is SocketException or ObjectDisposedException)
        {
            throw Lost(failure);
        }
    }

    /// <summary>Waits for the next message; its body is good until the one after it is waited for.</summary>
    /// <exception cref="LabException">The connection is lost, or what came is no message of it.</exception>
    public MigrationMessage Receive()
    {
        try
        {
            MigrationMessage message;
            while (!_incoming.TryOpen(out message))
            {
                int count = _socket.Receive(_incoming.Room(BufferSize));
                if (count == 0) throw Gone();
                _incoming.Receive(count);
            }
            if (!_isKnown) _socket.SendTimeout = _socket.ReceiveTimeout = 0;   // it has the key, and may take its time
            _isKnown = true;
            return message;
        }
        catch (Exception failure) when (failure is SocketException or ObjectDisposedException)
        {
            throw Lost(failure);
        }
    }

    /// <summary>Ends it; whoever waits on it, on whatever thread, is told.</summary>
    public void Dispose() => _socket.Dispose();

    LabException Gone() => new($"The connection was closed by the other side.{Hint}");

    LabException Lost(Exception failure) => new($"The connection is lost: {failure.Message}.{Hint}", failure);

    // A host does not answer who has another key: it cannot seal what that could open.
    string Hint => _isCaller && !_isKnown ? " It has not said anything: have both hosts the same key?" : "";
}

/// <summary>There is no host where one was looked for.</summary>
sealed class HostUnreachableException(string message, Exception cause) : LabException(message, cause);
