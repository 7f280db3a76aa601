/** What `/uplot.js` is: the library's own module, served from our files. */
export { default } from "uplot";
