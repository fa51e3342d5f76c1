using System.Net;
using System.Net.Sockets;

namespace VmLab.Machines.Gdb;

/// <summary>Lets gdb debug a machine from the outside: <c>target remote :PORT</c>.</summary>
/// <remarks>
/// It listens on 127.0.0.1 only, for one gdb after another. A stop happens between two counts and takes no guest time, so a run
/// that gdb only looks at is the run without gdb. The machine that gdb has stopped stands still inside its quantum, and its lab
/// with it. While the machine runs, gdb is listened to at the start of each quantum: a lab that nobody advances does not answer.
/// All but <see cref="Dispose"/> and the properties is for the thread that runs the machine.
/// </remarks>
public sealed class GdbServer : IDisposable
{
    readonly TcpListener _listener;
    readonly Action<string> _changed;
    readonly Func<ulong?> _textStart;
    Machine? _machine;
    MachineTarget? _target;
    Socket? _socket;
    PacketStream? _packets;
    GdbSession? _session;
    ulong _lastStop = ulong.MaxValue;
    bool _isStepping, _isNew;
    volatile bool _isWaiting, _isStopped, _isKilled, _isDisposed;

    /// <param name="port">0 takes any that is free.</param>
    /// <param name="waits">The machine does not run before gdb has come.</param>
    /// <param name="changed">Told of what gdb changes, on the machine's thread.</param>
    /// <param name="textStart">Finds where the kernel's first segment lies, or <see langword="null"/>.</param>
    /// <exception cref="LabException">The port is taken, or no port.</exception>
    public GdbServer(int port, bool waits, Action<string> changed, Func<ulong?> textStart)
    {
        _changed = changed;
        _textStart = textStart;
        _isWaiting = waits;
        try
        {
            _listener = new TcpListener(IPAddress.Loopback, port);
            _listener.Start(backlog: 1);
        }
        catch (Exception cause) when (cause is SocketException or ArgumentOutOfRangeException)
        {
            throw new LabException($"gdb cannot be served at port {port}: {cause.Message} Choose another port, or 0 for any.", cause);
        }
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
    }

    public int Port { get; }

    /// <summary>The machine stands still, because gdb has stopped it or is waited for.</summary>
    public bool IsStopped => _isStopped;

    /// <summary>gdb asked for the end of the lab.</summary>
    public bool IsKilled => _isKilled;

    /// <summary>Serves a machine from now on; a gdb that debugged the one before is told of its end.</summary>
    public void Attach(Machine machine)
    {
        End();
        _machine = machine;
        _target = new MachineTarget(machine, Halt, _changed, _textStart);
        _lastStop = ulong.MaxValue;
    }

    /// <summary>As <see cref="Machine.RunUntil"/>, with what gdb wants in between.</summary>
    public void RunUntil(ulong time)
    {
        Listen();
        _machine!.RunUntil(time);
        if (_machine.Status != MachineStatus.Running) End();
    }

    /// <summary>The machine was set back to another moment; breakpoints stay, and a step begins there.</summary>
    public void Rewind()
    {
        _lastStop = ulong.MaxValue;
        if (_isStepping) BeginStep();
    }

    /// <summary>Tells gdb that the machine will not run again, and lets it go.</summary>
    public void End()
    {
        if (_session is null) return;
        bool isCrash = _machine!.Status is MachineStatus.TripleFault or MachineStatus.Stuck;
        _session.End(new Stop(isCrash ? StopCause.Crashed : StopCause.PoweredOff));
        Forget();
    }

    /// <summary>Ends the connection, from whatever thread: a machine that stands still goes on.</summary>
    public void Dispose()
    {
        _isDisposed = true;
        _listener.Dispose();
        _socket?.Dispose();
    }

    /// <summary>Takes in a gdb that has come, or one that asks for a stop.</summary>
    void Listen()
    {
        if (_socket is null ? !TryAccept() : !HasNews()) return;
        // While the machine runs, gdb sends nothing but its wish for a stop.
        if (_isNew || _packets!.Read() == PacketStream.Interrupt) Halt(new Stop(StopCause.Request));
        else Forget();
    }

    bool TryAccept()
    {
        try
        {
            if (_isDisposed || !_isWaiting && !_listener.Pending()) return false;
            _isStopped = true;
            _socket = _listener.AcceptSocket();
            _socket.NoDelay = true;
        }
        catch (Exception ended) when (ended is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            Forget();
            return false;
        }
        (_isWaiting, _isNew) = (false, true);
        _packets = new PacketStream(new NetworkStream(_socket));
        _session = new GdbSession(_packets, _target!);
        if (_isDisposed) Forget();   // while it came
        return !_isDisposed;
    }

    bool HasNews()
    {
        try
        {
            return _packets!.HasBuffered || _socket!.Poll(0, SelectMode.SelectRead);
        }
        catch (Exception ended) when (ended is SocketException or ObjectDisposedException)
        {
            return true;   // which the read tells
        }
    }

    /// <summary>Stands still until gdb lets the machine go on. At an instant there is one stop, whatever was met.</summary>
    void Halt(Stop stop)
    {
        if (_session is null || _machine!.Retired == _lastStop && stop.Cause is StopCause.Breakpoint or StopCause.Watch) return;
        _lastStop = _machine!.Retired;
        _isStopped = true;
        Resume resume = _session.Serve(stop);
        (_isStopped, _isNew) = (false, false);
        _isStepping = resume == Resume.Step;
        if (_isStepping) BeginStep();
        if (resume is Resume.Detach or Resume.Kill) Forget();
        if (resume != Resume.Kill) return;
        _isKilled = true;
        _machine.PowerOff();
    }

    void BeginStep() => _machine!.Hooks.CallAfter(1, () =>
    {
        if (_isStepping) Halt(new Stop(StopCause.Step));
    });

    /// <summary>gdb is gone: what it left behind goes too, and the next one may come.</summary>
    void Forget()
    {
        _target!.RemoveStops();
        _socket?.Dispose();
        (_socket, _packets, _session) = (null, null, null);
        (_isStepping, _isNew, _isWaiting, _isStopped) = (false, false, false, false);
    }
}
