// Shows the token to the server once and gets a cookie for it. A token after the # of the address is
// used at once and taken out of the address; browsers send that part nowhere.

const form = document.getElementById("login");
const field = document.getElementById("token");
const notice = document.getElementById("notice");

async function enter(token) {
  notice.hidden = true;
  let text = "The console cannot be reached.";
  try {
    const reply = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (reply.ok) {
      location.reload();
      return;
    }
    text = await reply.text();
  } catch (error) {
    console.warn(error);
  }
  notice.textContent = text;
  notice.hidden = false;
  field.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(field.value.trim());
});

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  enter(given);
}
