using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using VmLab.Machines.Migrating;
using VmLab.Migrating;

namespace VmLab.Hosting;

/// <summary>A process that machines are migrated to, and run in: <c>vmlab host</c>.</summary>
/// <remarks>Who has its key may send it machines, and send those that it runs elsewhere.</remarks>
public sealed class HostServer : IDisposable
{
    const int MostConnections = 64;
    const int LastWords = 1000;   // milliseconds

    readonly Lock _lock = new();
    readonly Socket _listener;
    readonly ReadOnlyMemory<byte> _key;
    readonly ByteSize _memory;
    readonly Action<string> _tell;
    readonly List<HostedVm> _machines = [];
    readonly Dictionary<string, HostedVm?> _sessions = [];   // a machine that came by it, or none that ever will
    readonly List<HostConnection> _connections = [];
    bool _isClosed;

    /// <summary>Listens; machines may come from now on.</summary>
    /// <param name="address">Of this host; port 0 takes any that is free.</param>
    /// <param name="memory">What machines may have of it, all together.</param>
    /// <param name="tell">Is told what goes on, and what guests print, a line at a time, on whatever thread.</param>
    /// <exception cref="LabException">The address is none of this host's, or is taken.</exception>
    public HostServer(DnsEndPoint address, ReadOnlyMemory<byte> key, ByteSize memory, Action<string> tell, Engine engine = default)
    {
        (_key, _memory, _tell, Engine) = (key, memory, tell, engine);
        _listener = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            IPAddress own = IPAddress.TryParse(address.Host, out IPAddress? given) ? given : Dns.GetHostAddresses(address.Host)[0];
            _listener.Bind(new IPEndPoint(own, address.Port));
            _listener.Listen();
        }
        catch (Exception cause) when (cause is SocketException or ArgumentException)
        {
            _listener.Dispose();
            throw new LabException($"No host can listen at {address.Host}:{address.Port}: {cause.Message}", cause);
        }
        var bound = (IPEndPoint)_listener.LocalEndPoint!;
        Address = new DnsEndPoint(address.Host, bound.Port);
        new Thread(Listen) { IsBackground = true, Name = "listens" }.Start();
    }

    /// <summary>Where it listens.</summary>
    public DnsEndPoint Address { get; }

    /// <summary>Names of the machines that run here, in the order in which they came.</summary>
    public IReadOnlyList<string> Machines
    {
        get
        {
            lock (_lock) return [.. _machines.Where(machine => machine.IsTaken).Select(machine => machine.Name)];
        }
    }

    internal Engine Engine { get; }

    /// <summary>Has a host send a machine that runs there to another, which has the same key.</summary>
    /// <exception cref="LabException">A host cannot be reached, or the machine does not run there or cannot go.</exception>
    public static MigrationReport Migrate(Host from, string machine, string to, Migration plan)
    {
        using HostConnection connection = HostConnection.Connect(from);
        connection.Send(HostCommand.Migrate(machine, to, plan));
        HostAnswer answer = HostAnswer.Of(connection.Receive());
        return answer.Report ?? throw new LabException(answer.Failure);
    }

    /// <summary>Ends all machines and connections.</summary>
    public void Dispose()
    {
        HostedVm[] machines;
        lock (_lock)
        {
            _isClosed = true;
            _listener.Dispose();
            foreach (HostConnection connection in _connections) connection.Dispose();
            machines = [.. _machines];
        }
        foreach (HostedVm machine in machines) machine.Dispose();
    }

    internal void Tell(string what) => _tell(what);

    internal string? WhyRefused(HostedVm comer)
    {
        lock (_lock)
        {
            if (_machines.Exists(other => other != comer && other.Name == comer.Name)) return $"a machine named {comer.Name} is here already";
            ulong taken = 0;
            foreach (HostedVm other in _machines)
                if (other != comer) taken += other.Memory.Bytes;
            return taken + comer.Memory.Bytes <= _memory.Bytes
                ? null
                : $"the host has {_memory} of memory, of which {new ByteSize(taken)} are taken: {comer.Name}'s {comer.Memory} do not fit";
        }
    }

    internal void Remove(HostedVm machine)
    {
        lock (_lock) _machines.Remove(machine);
    }

    /// <summary>The machine runs here from now on, unless its source was told that it never would.</summary>
    /// <exception cref="LabException">The source was told so, or the host is being closed.</exception>
    internal void Take(HostedVm machine)
    {
        lock (_lock)
        {
            ThrowIfClosed();
            if (_sessions[machine.Session] is null) throw new LabException("The migration was given up by its source.");
            machine.MarkTaken();
        }
    }

    void ThrowIfClosed()
    {
        if (_isClosed) throw new LabException("The host is being closed.");
    }

    void Listen()
    {
        try
        {
            while (true)
            {
                Socket caller = _listener.Accept();
                new Thread(() => Serve(caller)) { IsBackground = true, Name = "serves" }.Start();
            }
        }
        catch (Exception end) when (end is SocketException or ObjectDisposedException)
        {
            // The host was closed.
        }
    }

    void Serve(Socket caller)
    {
        HostConnection? connection = null;
        try
        {
            connection = HostConnection.Accept(caller, _key.Span);
            lock (_lock)
            {
                if (_isClosed || _connections.Count == MostConnections) return;
                _connections.Add(connection);
            }
            MigrationMessage first = connection.Receive();
            if (first.Kind == MigrationMessageKind.Command) connection.Send(Obey(HostCommand.Of(first)).Write());
            else Welcome(connection, first);
        }
        catch (LabException failure)
        {
            if (!_isClosed) Tell($"a connection ended: {failure.Message}");
        }
        finally
        {
            lock (_lock)
                if (connection is not null) _connections.Remove(connection);
            connection?.Dispose();
            caller.Dispose();
        }
    }

    /// <summary>Takes a machine in.</summary>
    void Welcome(HostConnection connection, MigrationMessage first)
    {
        if (first.Kind != MigrationMessageKind.Offer) throw new LabException($"A migration cannot begin with {first.Kind}.");
        if (!TryRead(first, out MigrationOffer? offer, out string foreign))
        {
            connection.Send(new MigrationMessage(MigrationMessageKind.Refused, MigrationCodec.Text(foreign)));
            throw new LabException(foreign);
        }
        var sending = new Lock();
        MigrationTarget? target = null;
        var machine = new HostedVm(this, connection.Session, offer)
        {
            Want = page =>
            {
                lock (sending)
                {
                    target!.Want(page);
                    try
                    {
                        Answer(connection, target);
                    }
                    catch (LabException)
                    {
                        connection.Dispose();   // which its receiver is told: the machine is lost, if pages are missing
                    }
                }
            },
            HangUp = connection.Dispose,
        };
        target = new MigrationTarget(machine);
        lock (_lock)
        {
            ThrowIfClosed();
            _machines.Add(machine);
            _sessions[connection.Session] = machine;
        }
        try
        {
            for (MigrationMessage message = first; ; message = connection.Receive())
            {
                lock (sending)
                {
                    target.Receive(message);
                    Answer(connection, target);
                }
                if (message.Kind == MigrationMessageKind.Commit && target.TakenAt is not null) Tell($"{machine.Name} runs here");
                if (target.IsOver) return;
            }
        }
        finally
        {
            lock (sending) target.Break();
            if (!machine.IsTaken) GiveUp(machine);
            target.Dispose();
            machine.EndArrival();
        }
    }

    // Another VmLab may write its offers another way.
    static bool TryRead(MigrationMessage first, [NotNullWhen(true)] out MigrationOffer? offer, out string reason)
    {
        (offer, reason) = (null, "");
        try
        {
            offer = MigrationCodec.ReadRecord<MigrationOffer>(first.Body);
            return true;
        }
        catch (LabException failure)
        {
            reason = $"the machine that is offered cannot be read here: {failure.Message}";
            return false;
        }
    }

    static void Answer(HostConnection connection, MigrationTarget target)
    {
        while (target.TryNext(out MigrationMessage answer)) connection.Send(answer);
    }

    void GiveUp(HostedVm machine)
    {
        lock (_lock)
        {
            _machines.Remove(machine);
            _sessions[machine.Session] = null;
        }
        machine.Dispose();
    }

    HostAnswer Obey(HostCommand command)
    {
        try
        {
            if (command.Plan is null) return Settle(command.Session);
            HostedVm machine;
            lock (_lock)
                machine = _machines.Find(machine => machine.Name == command.Machine && machine.IsTaken) ?? throw new LabException(
                    $"No machine named {command.Machine} runs here but "
                    + $"{string.Join(", ", _machines.Select(other => other.Name).DefaultIfEmpty("none"))}.");
            return new HostAnswer("", false, false, machine.Migrate(new Host(Host.ParseAddress(command.To), _key), command.Plan));
        }
        catch (LabException failure)
        {
            return new HostAnswer(failure.Message, false, false, null);
        }
    }

    /// <summary>Says whether the machine of a session runs here, and all of it; if not, it never will.</summary>
    HostAnswer Settle(string session)
    {
        HostedVm? machine;
        lock (_lock)
            if (!_sessions.TryGetValue(session, out machine) || machine is not { IsTaken: true })
            {
                _sessions[session] = null;
                return new HostAnswer("", HasTaken: false, IsWhole: false, null);
            }
        machine.AwaitArrival(LastWords);
        return new HostAnswer("", HasTaken: true, machine.IsWhole, null);
    }
}
