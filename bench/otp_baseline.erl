%% The work of otp_work.py on Erlang/OTP: main() prints its series as JSON.
-module(otp_baseline).
-behaviour(gen_server).
-export([main/1, start_phoenix/1, start_echo/1]).
-export([init/1, handle_call/3, handle_cast/2]).

main(Quick) ->
    Pick = fun({Full, Few}) -> case Quick of true -> Few; false -> Full end end,
    process_flag(trap_exit, true),
    logger:remove_handler(default),
    logger:add_handler(default, logger_std_h, #{config => #{type => file, file => "/dev/null"}}),
    Crashes = Pick({2000, 200}),
    Logged = restarts(info, Crashes),
    Silent = restarts(none, Crashes),
    {ok, Echo} = start_echo(echo),
    Calls = calls(Echo, Pick({20000, 1000})),
    Tells = tells(Echo, Pick({100000, 5000})),
    {Start, Memory, Stop} = tree(one_for_one, Pick({1000, 100})),
    {DynamicStart, DynamicMemory, DynamicStop} = tree(simple_one_for_one, Pick({1000, 100})),
    io:format("{~s}~n", [lists:join(",", [
        series("restart", Logged), series("restart_silent", Silent), series("call", Calls), series("tell", [Tells]),
        series("start", [Start]), series("memory", [Memory]), series("stop", [Stop]),
        series("start_dynamic", [DynamicStart]), series("memory_dynamic", [DynamicMemory]),
        series("stop_dynamic", [DynamicStop])
    ])]),
    halt().

series(Name, Values) ->
    io_lib:format("\"~s\":[~s]", [Name, lists:join(",", [io_lib:format("~f", [float(Value)]) || Value <- Values])]).

%% Microseconds from each crash to the new child.
restarts(Level, Count) ->
    logger:set_primary_config(level, Level),
    {ok, Root} = supervisor:start_link(?MODULE, {phoenix, self()}),
    receive up -> ok end,
    [crash() || _ <- lists:seq(1, Count div 10)],
    Times = [crash() || _ <- lists:seq(1, Count)],
    stop(Root),
    Times.

crash() ->
    Began = erlang:monotonic_time(),
    gen_server:cast(phoenix, crash),
    receive up -> ok end,
    microseconds(Began).

%% Microseconds of a call, by batches of 100.
calls(Echo, Count) ->
    [gen_server:call(Echo, 1) || _ <- lists:seq(1, Count div 10)],
    [batch(Echo) || _ <- lists:seq(1, Count div 100)].

batch(Echo) ->
    Began = erlang:monotonic_time(),
    [gen_server:call(Echo, 1) || _ <- lists:seq(1, 100)],
    microseconds(Began) / 100.

tells(Echo, Count) ->
    Began = erlang:monotonic_time(),
    [gen_server:cast(Echo, 1) || _ <- lists:seq(1, Count)],
    gen_server:call(Echo, 1, infinity),
    Count / (microseconds(Began) / 1.0e6).

%% Milliseconds to start, KiB of each, milliseconds to stop.
tree(Strategy, Count) ->
    Before = erlang:memory(processes),
    Began = erlang:monotonic_time(),
    {ok, Root} = supervisor:start_link(?MODULE, {tree, Strategy, Count}),
    [{ok, _} = supervisor:start_child(Root, [N]) || Strategy =:= simple_one_for_one, N <- lists:seq(1, Count)],
    Start = microseconds(Began) / 1000,
    Memory = (erlang:memory(processes) - Before) / Count / 1024,
    Stopping = erlang:monotonic_time(),
    stop(Root),
    {Start, Memory, microseconds(Stopping) / 1000}.

stop(Root) ->
    exit(Root, shutdown),
    receive {'EXIT', Root, _} -> ok end.

microseconds(Began) ->
    erlang:convert_time_unit(erlang:monotonic_time() - Began, native, nanosecond) / 1000.

start_phoenix(Tell) -> gen_server:start_link({local, phoenix}, ?MODULE, {worker, Tell}, []).

start_echo(_) -> gen_server:start_link(?MODULE, {worker, nobody}, []).

init({phoenix, Tell}) ->
    {ok, {#{intensity => 1000000000, period => 1}, [#{id => phoenix, start => {?MODULE, start_phoenix, [Tell]}}]}};
init({tree, one_for_one, Count}) ->
    {ok, {#{}, [#{id => N, start => {?MODULE, start_echo, [N]}} || N <- lists:seq(1, Count)]}};
init({tree, simple_one_for_one, _}) ->
    {ok, {#{strategy => simple_one_for_one}, [#{id => echo, start => {?MODULE, start_echo, []}}]}};
init({worker, nobody}) -> {ok, nobody};
init({worker, Tell}) -> Tell ! up, {ok, Tell}.

handle_call(Message, _, State) -> {reply, Message, State}.

handle_cast(crash, _) -> error(a_bug);
handle_cast(_, State) -> {noreply, State}.
