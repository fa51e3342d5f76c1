using System.Globalization;
using VmLab.Introspection;
using VmLab.Machines;

namespace VmLab.Tracing;

/// <summary>Traces one machine of a lab, from each power-on, between the addresses that bound the trace.</summary>
sealed class TraceHook : IHook
{
    readonly Vm _vm;
    readonly TraceOptions _options;
    ISymbols? _symbols;
    Machine? _machine;
    TraceWriter? _writer;
    ulong? _from, _to;
    bool _isBound;

    public TraceHook(Vm vm, TraceOptions options)
    {
        (_vm, _options) = (vm, options);
        vm.Add(this);
    }

    public void Arm(Machine machine)
    {
        _isBound = false;
        _machine = machine;
        _writer = new TraceWriter(machine, _options, () => _symbols);
        machine.Hooks.Tracer = _options.From is null ? _writer : null;
        Look();
    }

    public void Settle()
    {
    }

    /// <summary>Looks, between quanta, whether the symbols can be read by now.</summary>
    public void Look()
    {
        _symbols ??= _vm.Powered.Machine.ReadSymbols(null);
        if (_isBound || !TryResolve(_options.From, out _from) || !TryResolve(_options.To, out _to)) return;
        _isBound = true;
        if (_from is { } from) Bound(from, isStart: true);
        if (_to is { } to) Bound(to, isStart: false);
    }

    void Bound(ulong address, bool isStart) => _machine!.Hooks.BreakAt(address, () =>
    {
        _machine.Hooks.Tracer = isStart && !_writer!.IsFull ? _writer : null;
        return false;
    });

    /// <summary>Whether an address is known, or none is asked for.</summary>
    bool TryResolve(string? text, out ulong? address)
    {
        address = null;
        if (text is null) return true;
        bool isNumber = text.StartsWith("0x", StringComparison.Ordinal);
        ulong found = 0;
        bool isKnown = isNumber
            ? ulong.TryParse(text[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out found)
            : _symbols is not null && _symbols.TryFind(text, out found);
        if (isKnown) address = found;
        return isKnown;
    }
}
