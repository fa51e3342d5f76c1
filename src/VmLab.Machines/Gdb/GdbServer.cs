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
    ulong? _stepEnd;
    ulong _lastStop = ulong.MaxValue;
    bool _isStepping;
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
        (_stepEnd, _lastStop) = (null, ulong.MaxValue);
    }

    /// <summary>As <see cref="Machine.RunUntil"/>, with what gdb wants in between.</summary>
    public void RunUntil(ulong time)
    {
        Machine machine = _machine!;
        Listen();
        while (machine.Status == MachineStatus.Running && machine.Now < time)
        {
            machine.RunUntil(time);
            if (machine.Retired != _stepEnd)
            {
                if (machine.Hooks.IsHeld) return;   // by somebody else
                continue;
            }
            _stepEnd = null;
            if (_isStepping) Halt(new Stop(StopCause.Step));
        }
        if (machine.Status != MachineStatus.Running) End();
    }

    /// <summary>The machine was set back to another moment; breakpoints stay, and a step begins there.</summary>
    public void Rewind()
    {
        (_stepEnd, _lastStop) = (null, ulong.MaxValue);
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
        try
        {
            if (_isDisposed) return;
            if (_socket is null && (_isWaiting || _listener.Pending())) Accept();
            else if (_socket is not null && (_packets!.HasBuffered || _socket.Poll(0, SelectMode.SelectRead))) Hear();
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            Forget();
        }
    }

    void Accept()
    {
        _isStopped = _isWaiting;
        _socket = _listener.AcceptSocket();
        _isWaiting = false;
        _socket.NoDelay = true;
        _packets = new PacketStream(new NetworkStream(_socket));
        _session = new GdbSession(_packets, _target!);
        Halt(new Stop(StopCause.Request));
    }

    // While the machine runs, gdb sends nothing but its wish for a stop.
    void Hear()
    {
        if (_packets!.Read() == PacketStream.Interrupt) Halt(new Stop(StopCause.Request));
        else Forget();
    }

    /// <summary>Stands still until gdb lets the machine go on. At an instant there is one stop, whatever was met.</summary>
    void Halt(Stop stop)
    {
        if (_session is null || _machine!.Retired == _lastStop && stop.Cause is StopCause.Breakpoint or StopCause.Watch) return;
        _lastStop = _machine!.Retired;
        _isStopped = true;
        Resume resume = _session.Serve(stop);
        _isStopped = false;
        _isStepping = resume == Resume.Step;
        if (_isStepping) BeginStep();
        if (resume is Resume.Detach or Resume.Kill) Forget();
        if (resume != Resume.Kill) return;
        _isKilled = true;
        _machine.PowerOff();
    }

    void BeginStep()
    {
        _stepEnd = _machine!.Retired + 1;
        _machine.Hooks.HoldAfter(1);
    }

    /// <summary>gdb is gone: what it left behind goes too, and the next one may come.</summary>
    void Forget()
    {
        _target!.RemoveStops();
        _socket?.Dispose();
        (_socket, _packets, _session) = (null, null, null);
        (_isStepping, _isWaiting, _isStopped) = (false, false, false);
    }
}
