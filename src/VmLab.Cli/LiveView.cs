using System.Diagnostics;
using System.Globalization;
using System.Text;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace VmLab.Cli;

/// <summary>
/// A line a machine at the foot of the terminal: guest time, speed, last console line. What the script prints goes
/// above.
/// </summary>
/// <remarks>
/// The pump's thread takes a picture a few times a second, and another thread draws it: drawing never holds a lab up,
/// and a lab that
/// takes less than half a second never loads the drawing code.
/// </remarks>
sealed class LiveView : IView
{
    static readonly TimeSpan s_firstPicture = TimeSpan.FromMilliseconds(500), s_period = TimeSpan.FromMilliseconds(250);

    readonly Lock _lock = new();
    readonly Timer _timer;
    readonly Dictionary<Vm, (TimeSpan Guest, long Host)> _before = [];
    volatile bool _isDue;
    volatile Row[]? _picture;
    Drawing? _drawing;
    bool _isClosed;

    public LiveView() => _timer = new Timer(_ => Tick(), null, s_firstPicture, s_period);

    public void Started(Lab lab) { }

    public void Preparing(Lab lab, string what) => Console.Error.WriteLine(what);

    public void Happened(Lab lab, TimelineEvent what) { }

    public void Advanced(Lab lab)
    {
        if (!_isDue) return;
        _isDue = false;
        _picture = [.. lab.Machines.Select(Look)];
    }

    public void Stalled(Lab lab, string report) => Console.Error.WriteLine(report);

    public void Closed(Lab lab)
    {
        _before.Clear();
        _picture = null;
    }

    public void Dispose()
    {
        lock (_lock)
        {
            if (_isClosed) return;
            _isClosed = true;
            _timer.Dispose();
            _drawing?.Dispose();
        }
    }

    void Tick()
    {
        _isDue = true;
        lock (_lock)
        {
            if (_isClosed || _picture is not { } picture) return;
            _drawing ??= new Drawing();
            _drawing.Show(picture);
        }
    }

    Row Look(Vm machine)
    {
        TimeSpan guest = machine.Now;
        long host = Stopwatch.GetTimestamp();
        var (guestBefore, hostBefore) = _before.GetValueOrDefault(machine, (guest, host));
        _before[machine] = (guest, host);
        double hostSeconds = Stopwatch.GetElapsedTime(hostBefore, host).TotalSeconds;
        double speed = hostSeconds > 0 ? (guest - guestBefore).TotalSeconds / hostSeconds : 0;
        return new Row(machine.Name, guest, speed, machine.Console.LastLine);
    }

    /// <param name="Speed">Guest seconds a host second.</param>
    sealed record Row(string Name, TimeSpan Guest, double Speed, string LastLine);

    /// <summary>The terminal while a picture stands at its foot.</summary>
    sealed class Drawing : IDisposable
    {
        // Time, speed, and the room between columns.
        const int FiguresWidth = 28;

        readonly TextWriter _terminal = Console.Out;
        readonly IAnsiConsole _console;
        readonly Thread _thread;
        readonly ManualResetEventSlim _isOver = new();
        readonly AutoResetEvent _hasNews = new(false);
        volatile Table _table = new Table().NoBorder();

        public Drawing()
        {
            _console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(_terminal) });
            Console.SetOut(new Above(_console));
            _thread = new Thread(Draw) { IsBackground = true, Name = "VmLab live view" };
            _thread.Start();
        }

        public void Show(Row[] rows)
        {
            Table table = new Table().NoBorder().HideHeaders()
                .AddColumns(new TableColumn("name").NoWrap(), new TableColumn("time").RightAligned().NoWrap(),
                    new TableColumn("speed").RightAligned().NoWrap(), new TableColumn("console").NoWrap());
            foreach (Row row in rows)
            {
                table.AddRow(
                    new Markup($"[bold]{Markup.Escape(row.Name)}[/]"),
                    new Text(row.Guest.TotalSeconds.ToString("0.000 s", CultureInfo.InvariantCulture)),
                    new Text(row.Speed.ToString("0.00x", CultureInfo.InvariantCulture)),
                    new Text(Cut(row.LastLine, _console.Profile.Width - rows.Max(other => other.Name.Length) - FiguresWidth)));
            }
            _table = table;
            _hasNews.Set();
        }

        public void Dispose()
        {
            _isOver.Set();
            _hasNews.Set();
            _thread.Join();
            Console.SetOut(_terminal);
        }

        // A line that wraps would make the picture taller, and Spectre never makes it smaller again.
        static string Cut(string line, int columns) =>
            line.Length <= columns ? line : columns > 1 ? line[..(columns - 1)] + "…" : "";

        void Draw() => _console.Live(_table).AutoClear(true).Start(context =>
        {
            while (!_isOver.IsSet)
            {
                _hasNews.WaitOne();
                context.UpdateTarget(_table);
            }
        });
    }

    /// <summary>Passes whole lines to the terminal above the picture.</summary>
    sealed class Above(IAnsiConsole console) : TextWriter
    {
        readonly StringBuilder _line = new();

        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value)
        {
            _line.Append(value);
            if (value == '\n') Flush();
        }

        public override void Flush()
        {
            if (_line.Length == 0) return;
            console.Write(new Line(_line.ToString().TrimEnd('\r', '\n')));
            _line.Clear();
        }
    }

    /// <summary>A line over what stood there: Spectre goes back to the picture's first line, and erases nothing.</summary>
    sealed class Line(string text) : Renderable
    {
        protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
            [new Segment(text), Segment.Control("\e[K"), Segment.LineBreak];
    }
}
